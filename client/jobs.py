"""Following a job to its end: by events where they are served, else by polling its status."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from jidoteki.client.answers import Answer
from jidoteki.client.errors import (
    MAX_CODE,
    ApiResponseError,
    JobOutcomeError,
    UnreachableError,
    UntrustedError,
    sentence,
)
from jidoteki.client.events import JobEvents

if TYPE_CHECKING:
    from jidoteki.client.connection import Client

#: Seconds for which an appliance may be unreachable, for example while its service is restarted.
AWAY_TIMEOUT = 120.0
#: The same while it says that it restarts.
RESTART_TIMEOUT = 1800.0
#: Seconds for which an appliance may report no job: it may show a job only some time after its start.
UNKNOWN_JOB_TIMEOUT = 10.0
#: Seconds between two looks at a job that events tell of.
LOOK_INTERVAL = 5.0

Fetch = Callable[[str], Awaitable[Any]]


def looking(fetch: Fetch, job: str | None, place: str | None) -> Callable[[], Awaitable[Any]]:
    """Return a function that fetches the status of a job: its record, or else, if that is not served, from a path.

    Records are not available from services before version 2, from the original, or without the scope `/jobs`.

    :param fetch: returns the JSON value at a path.
    :param job: the job's id.
    :param place: the path of the status of its job type.
    """
    shown = job is not None

    async def look() -> Any:
        nonlocal shown
        if shown:
            try:
                return await fetch(f"/jobs/{job}")
            except ApiResponseError as error:
                if error.status not in (403, 404):
                    raise
                shown = False
        if place is None:
            raise JobOutcomeError("The appliance does not show how the job goes")
        return await fetch(place)

    return look


class Started:
    """The last jobs that requests of a client started, and the events that may tell of the next."""

    def __init__(self, client: Client) -> None:
        self._client = client
        #: Paths that an appliance named as a job's status without being asked for them: not to be followed.
        self._foreign: deque[str] = deque(maxlen=64)
        #: Path and id of each, the newest first.
        self._ids: deque[tuple[str, str]] = deque(maxlen=64)
        #: The events that began before the request whose job is waited for next.
        self._events: JobEvents | None = None

    def note(self, answer: Answer) -> None:
        """Keep what an answer names, if it started a job."""
        if answer.status != 202:
            return
        asked = answer.asked.rstrip("/")
        self._foreign.extend(each for each in answer.named() if each.rstrip("/") != asked)
        if answer.job:
            self._ids.appendleft((asked, answer.job))

    def is_foreign(self, path: str) -> bool:
        """Whether the appliance alone would lead to a path."""
        return path in self._foreign

    def last_of(self, path: str) -> str | None:
        """Return the id of the last job that was started at a path."""
        return next((id for asked, id in self._ids if asked == path.rstrip("/")), None)

    async def listen(self) -> None:
        """Follow the events from now on, for the next job."""
        await self.end()
        self._events = JobEvents(self._client)
        await self._events.begun()

    def events_of(self, job: str | None) -> JobEvents | None:
        """Return the events of a job, those that began before its request if there are such; None if it has no id."""
        events, self._events = self._events, None
        if job is None:
            return events
        events = events or JobEvents(self._client)
        events.tell_of(job)
        return events

    async def end(self) -> None:
        """Follow no more events."""
        if self._events is not None:
            await self._events.end()


async def follow(
    look: Callable[[], Awaitable[Any]],
    on_progress: Callable[[Mapping[str, Any]], None] | None,
    seconds: float,
    interval: float,
    events: JobEvents | None = None,
) -> Mapping[str, Any]:
    """Look until the job has ended, and return its last status; see `Client.wait`.

    :param events: what may tell of the job, so that it need not be looked at again and again.
    """
    try:
        return await _follow(look, on_progress, seconds, interval, events)
    finally:
        if events is not None:
            await events.end()


async def _follow(
    look: Callable[[], Awaitable[Any]],
    on_progress: Callable[[Mapping[str, Any]], None] | None,
    seconds: float,
    interval: float,
    events: JobEvents | None,
) -> Mapping[str, Any]:
    started = seen = time.monotonic()
    shown: Mapping[str, Any] | None = None
    while time.monotonic() - started < seconds:
        # Before the first poll, too: for a moment the original still reports the previous job.
        told = await _news(events, interval)
        status: Mapping[str, Any] | None
        try:
            status = told if told is not None and _is_newer(told, shown) else await _looked(look, told, events)
            seen = time.monotonic()
            if events is not None and status.get("id") == events.job and status["status"] == "running":
                events.begin()
        except (UnreachableError, ApiResponseError) as error:
            patience = RESTART_TIMEOUT if shown and shown.get("restarting") else AWAY_TIMEOUT
            if not is_temporary(error) or time.monotonic() - seen > patience:
                raise
            status = shown
        if status is not None and _differs(status, shown):
            shown = status
            if on_progress:
                on_progress(status)
        if status is not None and _has_ended(status, time.monotonic() - started):
            return status
    raise JobOutcomeError(f"The job did not end within {seconds:g} seconds", status=shown)


async def _looked(
    look: Callable[[], Awaitable[Any]], told: Mapping[str, Any] | None, events: JobEvents | None
) -> Mapping[str, Any]:
    """Return the record of the job, which shows its end with its log.

    Where a job replaced the certificate by one that is not trusted, the events that began before still tell its end.

    :param told: what an event told.
    """
    try:
        return _status(await look())
    except UntrustedError as error:
        if told is not None:
            return told
        if events is not None and events.is_open:
            raise UnreachableError(str(error)) from error
        raise UntrustedError(f"{error}; how the job ended is not known") from error


async def _news(events: JobEvents | None, interval: float) -> Mapping[str, Any] | None:
    """Wait until the next poll is due; return what an event told in the meantime."""
    if events is not None and events.are_there:
        return await events.next(max(interval, LOOK_INTERVAL))
    await asyncio.sleep(interval)
    # What came meanwhile is known before the next look, and not taken for something newer after that.
    return events.news() if events is not None else None


def _is_newer(told: Mapping[str, Any], shown: Mapping[str, Any] | None) -> bool:
    """Return whether an event may count without a look at the job.

    One that tells of less than what is known may have been made before the last look, and came after it.
    """
    if told["status"] != "running":
        return False
    done, before = (each.get("percentage") for each in (told, shown or {}))
    return not (isinstance(done, int) and isinstance(before, int)) or done >= before


def is_temporary(error: Exception) -> bool:
    """Return whether an error may be temporary: the service is restarting, perhaps behind a proxy, or busy."""
    if isinstance(error, ApiResponseError):
        return error.status in (429, 502, 503, 504)
    return isinstance(error, UnreachableError) and not isinstance(error, UntrustedError)


def _status(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, dict) or "status" not in answer:
        raise JobOutcomeError("What the appliance answers there does not say how a job goes")
    return answer


def _differs(status: Mapping[str, Any], shown: Mapping[str, Any] | None) -> bool:
    try:
        return status != shown
    except RecursionError:  # what can be parsed may still be nested too deeply to be compared
        return True


def _has_ended(status: Mapping[str, Any], waited: float) -> bool:
    """Return whether the job ended with success.

    :raises JobOutcomeError: it ended in another way.
    """
    match status["status"]:
        case "success":
            return True
        case "running":
            return False
        case None if waited < UNKNOWN_JOB_TIMEOUT:
            return False
        case None:
            raise JobOutcomeError("No such job ran", status=status)
        case other:
            code = status.get("error-code")
            message = status.get("error-message") or f"The job ended as {other}"
            raise JobOutcomeError(sentence(message), None if code is None else sentence(code, MAX_CODE), status)

"""The hub, which numbers live events and hands them to the streams."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from jidoteki.hookspecs import ApiError, Appliance, LiveEvent, Service
from jidoteki.hookspecs.live import LOST
from jidoteki.plugins.events import journal
from jidoteki.plugins.events.journal import Known
from jidoteki.plugins.events.ring import Ring

logger = logging.getLogger(__name__)

MAX_STREAMS: Final = 32
RETRY_AFTER: Final = 5
#: Seconds: events are sent in batches, and to a few streams at a time, so that requests are handled in between.
TOGETHER: Final = 0.025
AT_ONCE: Final = 4
#: Seconds between two polls of endpoints, while there are streams.
LOOK_EACH: Final = 5.0
#: Polled endpoints, whether the event contains the new content, and the period in polls.
SHOWN: Final = (("health", True, 1), ("settings", False, 1), ("services", True, 3))


class Hub:
    """The events of one service.

    :param known: the events and states of the previous run.
    """

    def __init__(self, service: Service, known: Known) -> None:
        self._service, self._known = service, known
        self._streams = self._polls = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waking: asyncio.Handle | None = None
        self._woken = 0.0
        self._polling: asyncio.Task[None] | None = None
        #: Whether the events about jobs are complete, so that unknown jobs are new.
        self._continues = bool(known.newest)
        self._unsubscribe = service.subscribe(self._receive)

    @property
    def ring(self) -> Ring:
        """The events; replaced when events were lost."""
        return self._known.ring

    @property
    def service(self) -> Service:
        """The running service."""
        return self._service

    async def catch_up(self) -> None:
        """Add events for the jobs that started or ended while the service was down."""
        known = self._known
        listed = (await self._service.fetch("/jobs"))["jobs"]
        for job in reversed(listed):
            if self._continues and (job["id"] in known.jobs or _number(job["id"]) > _number(known.newest)):
                self._receive(LiveEvent("job", job, "/jobs"))
            known.newest = max(known.newest or job["id"], job["id"], key=_number)
        there = {each["id"] for each in listed}
        known.jobs = {id: job for id, job in known.jobs.items() if id in there}

    async def end(self, appliance: Appliance) -> None:
        """Save the events for the next start."""
        if self._polling:
            self._polling.cancel()
        await asyncio.sleep(0)  # lets events that were just published arrive
        self._unsubscribe()
        await asyncio.to_thread(journal.keep, appliance, self._known)

    def open(self) -> None:
        """Count a new stream.

        :raises ApiError: 503, there are too many.
        """
        if self._streams >= MAX_STREAMS:
            message = f"There are {MAX_STREAMS} streams of events already"
            raise ApiError(503, message, headers={"Retry-After": str(RETRY_AFTER)})
        self._streams += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll_endpoints())

    def close(self) -> None:
        """Remove a stream from the count."""
        self._streams -= 1

    async def changes(self, seconds: float) -> None:
        """Wait for the next event, but no longer than `seconds`."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ValueError):  # it was already removed
                self._waiting.remove(waiting)

    def _receive(self, event: LiveEvent) -> None:
        """Add an event, unless its content is already known."""
        if event.name == LOST:
            self._known.ring = Ring()
        elif event.name == "job" and not self._is_new(event.data):
            return
        elif event.name == "log":
            rest = self._new_part(event)
            if rest is None:
                return
            self.ring.add(rest.name, rest.path, rest.encoded)
        else:
            self.ring.add(event.name, event.path, event.encoded)
        if self._waking is None:
            loop = asyncio.get_running_loop()
            self._waking = loop.call_at(max(loop.time(), self._woken + TOGETHER), self._wake)

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        self._woken = loop.time()
        self._waking = None
        self._wake_some(len(self._waiting))

    def _wake_some(self, left: int) -> None:
        for _ in range(min(AT_ONCE, left, len(self._waiting))):
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
        if left > AT_ONCE and self._waiting:
            asyncio.get_running_loop().call_soon(self._wake_some, left - AT_ONCE)

    def _is_new(self, job: Mapping[str, Any]) -> bool:
        """Return whether an event about a job is new: a starting service repeats those of running jobs."""
        known, id = self._known, str(job.get("id"))
        now = {name: job.get(name) for name in ("status", "percentage")}
        if known.jobs.get(id) == now:
            return False
        if now["status"] == "running":
            known.jobs[id] = now
        else:
            known.jobs.pop(id, None)
            known.logs.pop(id, None)
        known.newest = max(known.newest, id, key=_number)
        return True

    def _new_part(self, event: LiveEvent) -> LiveEvent | None:
        """Return the new part of a log event, or None: a starting service reads the logs of running jobs again."""
        data, logs = event.data, self._known.logs
        id, offset, end = str(data["job"]), int(data["offset"]), int(data["end"])
        known = logs.get(id, 0)
        logs[id] = max(known, end)
        if end <= known:
            return None
        content = str(data["text"]).encode()
        if offset >= known or len(content) != end - offset:
            return event
        text = content[known - offset :].decode("utf-8", "replace")
        return LiveEvent("log", {**data, "offset": known, "text": text}, event.path, event.time)

    async def _poll_endpoints(self) -> None:
        while self._streams:
            for name, with_content, each in SHOWN:
                if self._polls % each == 0:
                    try:
                        await self._poll(name, with_content)
                    except Exception:  # it may succeed next time
                        logger.exception("What /%s shows cannot be compared", name)
            self._polls += 1
            await asyncio.sleep(LOOK_EACH)

    async def _poll(self, name: str, with_content: bool) -> None:
        """Publish an event if the content of an endpoint has changed."""
        path = f"/{name}"
        try:
            now = await self._service.fetch(path)
        except ApiError:
            now = {}
        data = (now if isinstance(now, dict) else {}) if with_content else {}
        digest = hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()
        before = self._known.shown.get(name)
        self._known.shown[name] = digest
        if before not in (None, digest):
            try:
                event = LiveEvent(name, data, path)
            except ValueError:  # too long: clients that need it request it
                event = LiveEvent(name, {}, path)
            self._service.publish(event)


def _number(id: str) -> tuple[int, str]:
    """Return the sort key of a job's id."""
    digits = id.partition("-")[0]
    return (int(digits) if digits.isdecimal() and len(digits) < 16 else 0, id)

"""Following the events of an appliance, and a job by them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jidoteki.client.errors import ApiResponseError, ClientError, UnreachableError, UntrustedError

if TYPE_CHECKING:
    from jidoteki.client.connection import Client

PATH = "/events"
#: Bytes of one event: the appliance may be anybody's.
MAX_EVENT = 1024 * 1024
#: Seconds without a byte, not even a comment, after which a stream is taken for dead.
SILENCE_TIMEOUT = 45.0
#: Seconds for which an appliance may be away, for example while its service is restarted, and those between two tries.
AWAY_TIMEOUT = 120.0
RETRY = 1.0
#: Seconds in which the first event must come for a request to wait for it.
BEGIN_TIMEOUT = 5.0
#: Jobs of which is kept what was told of them before one of them counts.
MAX_JOBS = 64
#: Answers after which trying again makes sense.
PASSING = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it came.

    :param data: the JSON value, or the text where it is no JSON.
    :param id: of the last event that has one; empty if there was none yet.
    """

    name: str
    data: Any
    id: str


class Parser:
    """Takes Server-Sent Events apart (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    :param id: of the last event that is known already.
    """

    def __init__(self, id: str = "") -> None:
        self.id = id
        self._rest = b""
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that are complete with this piece.

        :raises ClientError: an event is too long.
        """
        found = []
        # A lone carriage return at the end may be one half of a line's end.
        content = self._rest + piece
        keep = content.endswith(b"\r")
        lines = (content[:-1] if keep else content).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if keep else b"")
        for line in lines:
            if line:
                self._take(line.decode("utf-8", "replace"))
            elif (event := self._dispatch()) is not None:
                found.append(event)
        if self._size + len(self._rest) > MAX_EVENT:
            raise ClientError(f"The appliance sent an event of more than {MAX_EVENT} bytes")
        return found

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self._size += len(line)
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self.id = value

    def _dispatch(self) -> Event | None:
        name, data = self._name or "message", self._data
        self._name, self._data, self._size = "", [], 0
        if not data:
            return None
        text = "\n".join(data)
        try:
            return Event(name, json.loads(text), self.id)
        except (ValueError, RecursionError):
            return Event(name, text, self.id)


async def follow(client: Client, last: str = "", on_lost: Callable[[], None] | None = None) -> AsyncGenerator[Event]:
    """The events, over restarts of the service; see `Client.events`."""
    loop = asyncio.get_running_loop()
    begun, lost = False, 0.0
    while True:
        problem: ClientError = UnreachableError("The appliance ends its events again and again")
        try:
            async for event in _connected(client, last):
                last, begun, lost = event.id, True, 0.0
                yield event
        except (UnreachableError, ApiResponseError) as error:
            problem = error
        now = loop.time()
        lost = lost or now
        passes = not isinstance(problem, UntrustedError)
        if isinstance(problem, ApiResponseError):
            passes = problem.status in PASSING
        if not begun or not passes or now - lost > AWAY_TIMEOUT:
            raise problem
        if on_lost:
            on_lost()
        await asyncio.sleep(RETRY)


async def _connected(client: Client, last: str) -> AsyncGenerator[Event]:
    """The events of one connection."""
    parser = Parser(last)
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
    async with client.open("GET", PATH, headers=headers) as response:
        if response.content_type != "text/event-stream":
            raise ClientError("What the appliance answers there are no events")
        while True:
            async with asyncio.timeout(SILENCE_TIMEOUT):
                piece = await response.content.readany()
            if not piece:
                return
            for event in parser.feed(piece):
                yield event


class JobEvents:
    """What the events of an appliance tell of one job; where none are served, nothing.

    :param job: its id; None until its request is answered.
    """

    def __init__(self, client: Client, job: str | None = None) -> None:
        self.job = job
        self._client = client
        #: What was told of jobs while it was not known which one counts, the newest last.
        self._others: dict[str, Mapping[str, Any]] = {}
        self._told: Mapping[str, Any] | None = None
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Follow the events from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    async def begun(self) -> None:
        """Follow the events from now on, and wait until the first one came or none will, at most some seconds."""
        self.begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_TIMEOUT):
                await self._begun.wait()

    async def end(self) -> None:
        """Follow them no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def tell_of(self, job: str) -> None:
        """Tell of this job, from what came until now on."""
        self.job = job
        if job in self._others:
            self._take(self._others[job])
        self._others.clear()

    @property
    def is_open(self) -> bool:
        """Whether events come."""
        return self._begun.is_set() and self._task is not None and not self._task.done()

    @property
    def are_there(self) -> bool:
        """Whether something is told now, so that the appliance need not be asked."""
        return self._told is not None and self.is_open

    async def next(self, seconds: float) -> Mapping[str, Any] | None:
        """Return what was told last of the job, waiting for it no longer than that; None if nothing was."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        return self.news()

    def news(self) -> Mapping[str, Any] | None:
        """Return what was told last of the job, if that is new."""
        told = self._told if self._news.is_set() else None
        self._news.clear()
        return told

    def _take(self, record: Mapping[str, Any]) -> None:
        self._told = record
        self._news.set()

    async def _follow(self) -> None:
        try:
            with contextlib.suppress(ClientError, TimeoutError):
                async for event in follow(self._client):
                    for each in _jobs_of(event):
                        self._sort(each)
                    self._begun.set()
        finally:
            self._begun.set()

    def _sort(self, record: Mapping[str, Any]) -> None:
        id = record.get("id")
        if not isinstance(id, str) or "status" not in record:
            return
        if id == self.job:
            self._take(record)
        elif self.job is None:
            self._others.pop(id, None)
            self._others[id] = record
            if len(self._others) > MAX_JOBS:
                del self._others[next(iter(self._others))]


def _jobs_of(event: Event) -> list[Mapping[str, Any]]:
    if event.name == "job" and isinstance(event.data, dict):
        return [event.data]
    jobs = event.data.get("jobs") if event.name == "state" and isinstance(event.data, dict) else None
    return [each for each in jobs if isinstance(each, dict)] if isinstance(jobs, list) else []

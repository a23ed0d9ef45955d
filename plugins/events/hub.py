"""Where live events become numbered ones, and from where the streams take them."""

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
#: Seconds: many events at once are sent together, and some streams after the others, so that requests come in between.
TOGETHER: Final = 0.025
AT_ONCE: Final = 4
#: Seconds between two looks at what endpoints show, while anybody is told.
LOOK_EACH: Final = 5.0
#: The event that tells of a change of what an endpoint shows, whether it tells what is there now, and in which look.
SHOWN: Final = (("health", True, 1), ("settings", False, 1), ("services", True, 3))


class Hub:
    """The events of one service.

    :param known: what was told already.
    """

    def __init__(self, service: Service, known: Known) -> None:
        self._service, self._known = service, known
        self._streams = self._looks = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waking: asyncio.Handle | None = None
        self._woken = 0.0
        self._looking: asyncio.Task[None] | None = None
        #: Whether it is known what was told of jobs; then those that are not known are news.
        self._continues = bool(known.newest)
        self._unsubscribe = service.subscribe(self._hear)

    @property
    def ring(self) -> Ring:
        """The events; another one when it is not known any more what happened."""
        return self._known.ring

    @property
    def service(self) -> Service:
        """The running service."""
        return self._service

    async def catch_up(self) -> None:
        """Tell of the jobs that began or ended while the service was down."""
        known = self._known
        listed = (await self._service.fetch("/jobs"))["jobs"]
        for told in reversed(listed):
            if self._continues and (told["id"] in known.jobs or _number(told["id"]) > _number(known.newest)):
                self._hear(LiveEvent("job", told, "/jobs"))
            known.newest = max(known.newest or told["id"], told["id"], key=_number)
        there = {each["id"] for each in listed}
        known.jobs = {id: told for id, told in known.jobs.items() if id in there}

    async def end(self, appliance: Appliance) -> None:
        """Keep the events for the next start."""
        if self._looking:
            self._looking.cancel()
        await asyncio.sleep(0)  # what was published last is told
        self._unsubscribe()
        await asyncio.to_thread(journal.keep, appliance, self._known)

    def open(self) -> None:
        """Count a stream.

        :raises ApiError: 503, there are too many.
        """
        if self._streams >= MAX_STREAMS:
            message = f"There are {MAX_STREAMS} streams of events already"
            raise ApiError(503, message, headers={"Retry-After": str(RETRY_AFTER)})
        self._streams += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again_and_again())

    def close(self) -> None:
        """Count it no more."""
        self._streams -= 1

    async def changes(self, seconds: float) -> None:
        """Wait for the next event, but no longer than that."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ValueError):  # it is among them no more
                self._waiting.remove(waiting)

    def _hear(self, event: LiveEvent) -> None:
        """Take an event in, unless it says what is known already."""
        if event.name == LOST:
            self._known.ring = Ring()
        elif event.name == "job" and not self._is_news(event.data):
            return
        elif event.name == "log":
            rest = self._rest(event)
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

    def _is_news(self, told: Mapping[str, Any]) -> bool:
        """Whether this is not yet told of a job: a service that starts tells of those that run once more."""
        known, id = self._known, str(told.get("id"))
        now = {name: told.get(name) for name in ("status", "percentage")}
        if known.jobs.get(id) == now:
            return False
        if now["status"] == "running":
            known.jobs[id] = now
        else:
            known.jobs.pop(id, None)
            known.logs.pop(id, None)
        known.newest = max(known.newest, id, key=_number)
        return True

    def _rest(self, event: LiveEvent) -> LiveEvent | None:
        """What is not yet told of a piece of a log: a service that starts reads that of a job that runs anew."""
        told, logs = event.data, self._known.logs
        id, offset, end = str(told["job"]), int(told["offset"]), int(told["end"])
        known = logs.get(id, 0)
        logs[id] = max(known, end)
        if end <= known:
            return None
        content = str(told["text"]).encode()
        if offset >= known or len(content) != end - offset:
            return event
        text = content[known - offset :].decode("utf-8", "replace")
        return LiveEvent("log", {**told, "offset": known, "text": text}, event.path, event.time)

    async def _look_again_and_again(self) -> None:
        while self._streams:
            for name, tells, each in SHOWN:
                if self._looks % each == 0:
                    try:
                        await self._look(name, tells)
                    except Exception:  # another time it may be there
                        logger.exception("What /%s shows cannot be compared", name)
            self._looks += 1
            await asyncio.sleep(LOOK_EACH)

    async def _look(self, name: str, tells: bool) -> None:
        """Tell of a change of what an endpoint shows."""
        path = f"/{name}"
        try:
            now = await self._service.fetch(path)
        except ApiError:
            now = {}
        data = (now if isinstance(now, dict) else {}) if tells else {}
        digest = hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()
        before = self._known.shown.get(name)
        self._known.shown[name] = digest
        if before not in (None, digest):
            try:
                event = LiveEvent(name, data, path)
            except ValueError:  # too long: whoever wants it asks for it
                event = LiveEvent(name, {}, path)
            self._service.publish(event)


def _number(id: str) -> tuple[int, str]:
    """The order of ids of jobs."""
    digits = id.partition("-")[0]
    return (int(digits) if digits.isdecimal() and len(digits) < 16 else 0, id)

"""Live events: from any thread to whoever subscribed, in the event loop, in order, through a bounded queue."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable

from jidoteki.hookspecs import LiveEvent
from jidoteki.hookspecs.live import LOST

logger = logging.getLogger(__name__)

MAX_PENDING = 4096

Listener = Callable[[LiveEvent], None]


class Live:
    """The live events of one service."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._pending: deque[LiveEvent] = deque()
        self._lock = threading.Lock()
        self._scheduled = self._lost = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Deliver events in the event loop that runs now."""
        self._loop = asyncio.get_running_loop()

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens: what nobody hears of need not be found out."""
        return bool(self._listeners)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have each event told to a function, and return what ends that."""
        self._listeners = [*self._listeners, listener]
        return lambda: self._drop(listener)

    def _drop(self, listener: Listener) -> None:
        self._listeners = [each for each in self._listeners if each is not listener]

    def publish(self, event: LiveEvent) -> None:
        """Queue an event; may be called in any thread."""
        if self._loop is None or not self._listeners:
            return
        with self._lock:
            if len(self._pending) >= MAX_PENDING:
                self._lost = True
                return
            self._pending.append(event)
            if self._scheduled:
                return
            self._scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: the service has ended
            self._loop = None

    def _deliver(self) -> None:
        with self._lock:
            events, self._pending = self._pending, deque()
            lost, self._lost, self._scheduled = self._lost, False, False
        if lost:
            logger.error("Live events were lost: more than %d waited", MAX_PENDING)
            events.append(LiveEvent(LOST, {}, ""))
        for event in events:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:
                    logger.exception("A listener to live events failed, and is told of no more")
                    self._drop(listener)

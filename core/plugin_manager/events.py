"""Delivery of events to plugins: through a bounded queue and a thread, so that nobody waits for them."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from jidoteki.core.plugin_manager.isolation import Calls, StillRunningError, told
from jidoteki.core.plugin_manager.manager import Plugin, PluginError
from jidoteki.hookspecs import Event

logger = logging.getLogger(__name__)

MAX_PENDING = 1000
EVENT_TIMEOUT = 10.0
MAX_FAILURES = 3

Listeners = Callable[[], list[tuple[Plugin, Callable[..., Any]]]]


class Events:
    """A queue of events for the plugins that implement `jidoteki_event`.

    :param listeners: returns the current implementations.
    :param calls: the guard of this process.
    """

    def __init__(self, listeners: Listeners, calls: Calls) -> None:
        self._listeners = listeners
        self._calls = calls
        self._queue: queue.Queue[Event | None] = queue.Queue(MAX_PENDING)
        self._failures: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._lost = 0

    def notify(self, event: Event) -> None:
        """Queue an event; while the queue is full, new events are lost, and their number is logged."""
        if not self._listeners():
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="events", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._lost += 1
            if self._lost % MAX_PENDING == 1:
                logger.error("Plugins are too slow in jidoteki_event: %d events were lost", self._lost)

    def close(self, seconds: float) -> None:
        """Wait until the queued events are delivered, but no longer than `seconds`."""
        if self._thread:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=seconds)
            self._thread.join(seconds)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            for plugin, function in self._listeners():
                if self._failures[plugin.name] < MAX_FAILURES:
                    self._deliver(plugin, function, event)

    def _deliver(self, plugin: Plugin, function: Callable[..., Any], event: Event) -> None:
        try:
            self._calls.within(plugin.name, "jidoteki_event", EVENT_TIMEOUT, lambda: function(event=event))
            del self._failures[plugin.name]
        except StillRunningError:
            return  # it misses events until it has handled the one that timed out
        except PluginError as error:
            self._failures[plugin.name] += 1
            given_up = self._failures[plugin.name] == MAX_FAILURES
            logger.error(
                "The plugin %s failed in jidoteki_event: %s%s",
                plugin.name, told(error), "; it is told of no more events" if given_up else "",
                exc_info=self._calls.first(error),
            )  # fmt: skip

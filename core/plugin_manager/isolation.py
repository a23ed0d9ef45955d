"""Calls of plugins that are given up on when they take too long."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from jidoteki.core.plugin_manager.sources import PluginError

logger = logging.getLogger(__name__)


class TookTooLong(PluginError):
    """It was given up on, and is still at work."""


class Raised(PluginError):
    """It raised what is the cause of this."""


class StillAtWork(PluginError):
    """It was not called, for an earlier call is still at work."""


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return what `function` returns, or give up on it.

    :raises TookTooLong: it did not end in time.
    :raises PluginError: it raised, even what is not an Exception.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.extend((True, function()))
        except BaseException as error:  # a plugin that calls sys.exit must not end the service
            outcome.extend((False, error))

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise PluginError("there is no thread left to call it in") from error
    thread.join(seconds)
    if not outcome:
        raise TookTooLong(f"did not finish within {seconds:g} seconds")
    succeeded, value = outcome
    if succeeded:
        return value
    if isinstance(value, PluginError):
        raise value
    logger.debug("A plugin raised", exc_info=value)
    raise Raised(f"{type(value).__name__}: {value}") from value


class _Call:
    """One call of a plugin."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.given_up = False


class Calls:
    """Lets at most one call of each plugin and hook be at work.

    A thread cannot be ended from outside: without this, a hook that never returns would cost one more at each call. One
    object is for the whole life of a process, through all reloads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: dict[tuple[str, str], _Call] = {}
        #: How often each plugin failed, in whatever it was called for.
        self.failures: Counter[str] = Counter()

    def within(self, plugin: str, hook: str, seconds: float, function: Callable[[], Any]) -> Any:
        """Return what `function` returns, or give up on it; it is called again once the earlier call has ended.

        :param hook: what is called, for the log.
        :raises TookTooLong: it did not end in time.
        :raises StillAtWork: an earlier call did not end yet; that was told when it was given up on.
        :raises PluginError: it raised, even what is not an Exception.
        """
        call, key = _Call(), (plugin, hook)
        with self._lock:
            if key in self._at_work:
                raise StillAtWork(f"is still at work on an earlier call of {hook}")
            self._at_work[key] = call

        def work() -> Any:
            try:
                return function()
            finally:
                self._end(key, call)

        try:
            return within(seconds, work)
        except TookTooLong:
            with self._lock:
                call.given_up = True
            self.failures[plugin] += 1
            raise
        except PluginError:
            self.failures[plugin] += 1
            self._end(key, call)
            raise

    def _end(self, key: tuple[str, str], call: _Call) -> None:
        with self._lock:
            if self._at_work.get(key) is call:
                del self._at_work[key]
        if call.given_up:
            logger.warning(
                "The plugin %s ended %s after %.0f seconds: it is called again", *key, time.monotonic() - call.began
            )

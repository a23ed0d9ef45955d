"""Calls of plugins with a timeout."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from jidoteki.core.plugin_manager.sources import PluginError

logger = logging.getLogger(__name__)


class TookTooLong(PluginError):
    """A call that timed out and is still running."""


class Raised(PluginError):
    """A call that raised an exception, which is the cause of this one."""


class StillAtWork(PluginError):
    """A call that was not made, because an earlier one is still running."""


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return the result of `function`, called in a thread with a timeout.

    :raises TookTooLong: it timed out.
    :raises PluginError: it raised an exception, including a BaseException.
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
    """A running call of a plugin."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.given_up = False


class Calls:
    """A guard that allows at most one running call for each plugin and hook.

    A thread cannot be killed: without this guard, a hook that never returns would cost another thread at each call. A
    process has one guard, which is kept through all reloads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: dict[tuple[str, str], _Call] = {}

    def within(self, plugin: str, hook: str, seconds: float, function: Callable[[], Any]) -> Any:
        """Return the result of `function`, called in a thread with a timeout, unless an earlier call is still running.

        :param hook: the name of the call in the log.
        :raises TookTooLong: it timed out.
        :raises StillAtWork: an earlier call is still running, which was reported when it timed out.
        :raises PluginError: it raised an exception, including a BaseException.
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
            raise
        except PluginError:
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

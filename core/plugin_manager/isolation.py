"""Calls of plugins with a timeout."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jidoteki.core.plugin_manager.sources import PluginError

logger = logging.getLogger(__name__)

CORE = Path(__file__).parents[1]
#: After so many kinds of exceptions their tracebacks are left out.
MAX_KINDS = 100


class PluginTimeoutError(PluginError):
    """A call that timed out and is still running."""


class RaisedError(PluginError):
    """A call that raised an exception, which is the cause of this one.

    :param raised: that exception.
    """

    def __init__(self, raised: BaseException) -> None:
        super().__init__(f"{type(raised).__name__}: {raised}")
        #: The innermost file and line of the plugin; None if the plugin's code was not reached.
        self.place = _place(raised)


def _place(raised: BaseException) -> tuple[Path, int] | None:
    called = ((Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(raised.__traceback__))
    frames = [(path, line) for path, line in called if CORE not in path.parents]
    own = [(path, line) for path, line in frames if path.parent == frames[0][0].parent]
    return own[-1] if own else None


def told(error: PluginError) -> str:
    """Return the message of a failed call for an author: with file and line, if it raised an exception."""
    place = error.place if isinstance(error, RaisedError) else None
    return f"{error} ({place[0]}, line {place[1]})" if place else str(error)


class StillRunningError(PluginError):
    """A call that was not made, because an earlier one is still running."""


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return the result of `function`, called in a thread with a timeout.

    :raises PluginTimeoutError: it timed out.
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
        raise PluginTimeoutError(f"did not finish within {seconds:g} seconds")
    succeeded, value = outcome
    if succeeded:
        return value
    if isinstance(value, PluginError):
        raise value
    logger.debug("A plugin raised", exc_info=value)
    raise RaisedError(value) from value


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
        self._kinds: set[tuple[type[BaseException], tuple[Path, int] | None]] = set()
        #: How often each plugin failed, in whatever it was called for.
        self.failures: Counter[str] = Counter()

    def within(self, plugin: str, hook: str, seconds: float, function: Callable[[], Any]) -> Any:
        """Return the result of `function`, called in a thread with a timeout, unless an earlier call is still running.

        :param hook: the name of the call in the log.
        :raises PluginTimeoutError: it timed out.
        :raises StillRunningError: an earlier call is still running, which was reported when it timed out.
        :raises PluginError: it raised an exception, including a BaseException.
        """
        call, key = _Call(), (plugin, hook)
        with self._lock:
            if key in self._at_work:
                raise StillRunningError(f"is still at work on an earlier call of {hook}")
            self._at_work[key] = call

        def work() -> Any:
            try:
                return function()
            finally:
                self._end(key, call)

        try:
            return within(seconds, work)
        except PluginTimeoutError:
            with self._lock:
                call.given_up = True
            self.failures[plugin] += 1
            raise
        except PluginError:
            self.failures[plugin] += 1
            self._end(key, call)
            raise

    def first(self, error: PluginError) -> BaseException | None:
        """Return the exception that a call raised, if it is the first of its type and place: for its traceback."""
        raised = error.__cause__
        if not isinstance(error, RaisedError) or raised is None:
            return None
        kind = (type(raised), error.place)
        with self._lock:
            if kind in self._kinds or len(self._kinds) >= MAX_KINDS:
                return None
            self._kinds.add(kind)
        return raised

    def _end(self, key: tuple[str, str], call: _Call) -> None:
        with self._lock:
            if self._at_work.get(key) is call:
                del self._at_work[key]
        if call.given_up:
            logger.warning(
                "The plugin %s ended %s after %.0f seconds: it is called again", *key, time.monotonic() - call.began
            )

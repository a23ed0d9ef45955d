"""The recorder of the history: measures regularly, saves every five minutes, and drops points with a wrong time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from jidoteki.plugins.history.series import COLUMNS, FINEST, Series, Values, mean
from jidoteki.plugins.history.store import Store

logger = logging.getLogger(__name__)

WRITE_EACH: Final = 300.0
"""Minimum seconds between two writes, as flash memory wears out."""
JUMP: Final = 5.0
"""Seconds that tell a jump of the clock from a gradual correction."""
SETTLED: Final = 3600.0
"""Seconds after which a clock that did not jump is trusted: later points are then deleted."""
EARLIEST: Final = 1767225600
"""The beginning of 2026: a clock that shows an earlier time is not set."""
MAX_PENDING: Final = 4 * FINEST.count
DIGITS: Final = 3


class Recorder:
    """The history of one appliance.

    :param measure: returns the current figures.
    :param wall: the wall clock, in seconds since the epoch.
    :param running: a clock that cannot be set.
    """

    def __init__(
        self,
        store: Store,
        measure: Callable[[], Values],
        wall: Callable[[], float] = time.time,
        running: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._store, self._measure, self._wall, self._running = store, measure, wall, running
        self._pending: dict[int, Values] = {}
        self._lock = threading.Lock()
        self._offset: float | None = None
        self._set = self._written = running()

    def step(self) -> None:
        """Measure, and save if it is time; blocks."""
        values = self._measure()
        with self._lock:
            now, running = self._wall(), self._running()
            offset = now - running
            if self._offset is not None and abs(offset - self._offset) > JUMP:
                self._pending.clear()  # their times are wrong
                self._set = running
            self._offset = offset
            if now >= EARLIEST:
                self._pending[FINEST.bucket(now)] = values
            if running - self._written >= WRITE_EACH:
                self._written = running
                self._write(now, settled=running - self._set >= SETTLED)

    def _write(self, now: float, settled: bool) -> None:
        try:
            if self._pending:
                self._store.write(self._pending, now + FINEST.step if settled else None)
                self._pending.clear()
        except OSError as error:
            logger.error("The history cannot be written: %s", error)
            for each in sorted(self._pending)[:-MAX_PENDING]:
                del self._pending[each]

    def columns(self, series: Series) -> dict[str, list[Any]]:
        """Return the last points of a series, one list for each figure, with None for missing points; blocks."""
        end = series.bucket(self._wall())
        times = [end - number * series.step for number in range(series.count - 1, -1, -1)]
        with self._lock:
            pending = dict(self._pending)
        try:
            points = self._store.read(series, times[0], end)
        except OSError as error:
            logger.error("The history cannot be read: %s", error)
            points = {}
        latest: dict[int, list[Values]] = {}
        for moment, values in pending.items():
            latest.setdefault(series.bucket(moment), []).append(values)
        known = {begin: mean(each) for begin, each in latest.items()} | points
        if series is FINEST:
            known = points | pending
        nothing: Values = (None,) * len(COLUMNS)
        rows = [known.get(each, nothing) for each in times]
        shown = {name: [_rounded(row[index]) for row in rows] for index, name in enumerate(COLUMNS)}
        return {"time": times, **shown}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, DIGITS)

"""Measuring the figures of one moment."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from jidoteki.plugins.history.series import Values

T = TypeVar("T")
LOOPBACK = "lo"


class Meter:
    """A meter of one appliance.

    :param root: a directory on the disk to measure.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counted: tuple[float, int, int] | None = None

    def measure(self) -> Values:
        """Return the figures, None for those that cannot be measured; blocks."""
        load = _tried(lambda: os.getloadavg()[0])
        memory = _tried(lambda: float(psutil.virtual_memory().percent))
        return (load, memory, _tried(self._disk), *self._network())

    def _disk(self) -> float:
        disk = shutil.disk_usage(self._root)
        return disk.used * 100 / max(1, disk.used + disk.free)  # without the space reserved for root

    def _network(self) -> tuple[float | None, float | None]:
        """Return bytes per second since the previous call; None if the counters were reset."""
        before, self._counted = self._counted, _tried(_counters)
        if before is None or self._counted is None:
            return None, None
        seconds = self._counted[0] - before[0]
        received, sent = (now - then for now, then in zip(self._counted[1:], before[1:], strict=True))
        if seconds <= 0 or received < 0 or sent < 0:
            return None, None
        return received / seconds, sent / seconds


def _counters() -> tuple[float, int, int]:
    counters = [each for name, each in psutil.net_io_counters(pernic=True).items() if name != LOOPBACK]
    return time.monotonic(), sum(each.bytes_recv for each in counters), sum(each.bytes_sent for each in counters)


def _tried(measure: Callable[[], T]) -> T | None:
    try:
        return measure()
    except (OSError, ValueError, KeyError, RuntimeError):  # /proc of containers may be anything
        return None

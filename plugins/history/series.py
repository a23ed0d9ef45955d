"""The recorded figures, and the series with their steps and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COLUMNS: Final = ("load", "memory", "disk", "received", "sent")
"""Load of one minute, percent of memory and disk, bytes per second of all networks."""

Values = tuple[float | None, ...]
"""One value for each of `COLUMNS`; None if unknown."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of equidistant points.

    :param step: seconds between two points.
    :param count: number of points shown.
    """

    step: int
    count: int

    @property
    def slots(self) -> int:
        """The number of rows in the database: a point overwrites that of the previous cycle."""
        return self.count + 2

    def bucket(self, time: float) -> int:
        """Return the start of the point that contains a time."""
        return int(time) // self.step * self.step


SERIES: Final = {
    "1h": Series(15, 240),
    "1d": Series(300, 288),
    "1w": Series(1800, 336),
    "1m": Series(7200, 372),
    "1y": Series(86400, 366),
}
"""Each is aggregated from the one before, of which several points fit into one."""

FINEST: Final = SERIES["1h"]


def mean(points: list[Values]) -> Values:
    """Return the means of the known values."""
    columns: list[float | None] = []
    for index in range(len(COLUMNS)):
        known = [value for each in points if (value := each[index]) is not None]
        columns.append(sum(known) / len(known) if known else None)
    return tuple(columns)

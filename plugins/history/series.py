"""What is kept: which figures, and for how long in which steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COLUMNS: Final = ("load", "memory", "disk", "received", "sent")
"""The load of one minute, percent of memory and disk, bytes a second of all networks."""

Values = tuple[float | None, ...]
"""One value for each of `COLUMNS`; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of equal distance.

    :param step: seconds between two.
    :param count: how many are shown.
    """

    step: int
    count: int

    @property
    def slots(self) -> int:
        """How many places it has on the disk: a point is written over that of the round before."""
        return self.count + 2

    def bucket(self, time: float) -> int:
        """When the point begins that a moment belongs to."""
        return int(time) // self.step * self.step


SERIES: Final = {
    "1h": Series(15, 240),
    "1d": Series(300, 288),
    "1w": Series(1800, 336),
    "1m": Series(7200, 372),
    "1y": Series(86400, 366),
}
"""Each is made out of the one before, of which it fits several into a point."""

FINEST: Final = SERIES["1h"]


def mean(points: list[Values]) -> Values:
    """The means of what is known."""
    columns: list[float | None] = []
    for index in range(len(COLUMNS)):
        known = [value for each in points if (value := each[index]) is not None]
        columns.append(sum(known) / len(known) if known else None)
    return tuple(columns)

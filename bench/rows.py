"""What a benchmark finds: two series of figures, their ratio, and the target of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    :param unit: of the figures in `ours` and `reference`, which are from the same moments in the same order.
    :param target: the bound of the ratio ours/reference, or of our own figure where there is no reference.
    :param at_least: whether the target is a lower bound.
    """

    name: str
    unit: str
    ours: Sequence[float]
    reference: Sequence[float]
    beside: str
    target: float
    at_least: bool = False
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Ours by the reference, pair by pair; our own figures where there is no reference."""
        if not self.reference:
            return list(self.ours)
        return [a / b if b else float("inf") for a, b in zip(self.ours, self.reference, strict=True)]

    @property
    def value(self) -> float:
        """What is compared with the target: the median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        """The row for `results.json`."""
        return {**asdict(self), "ratios": self.ratios, "value": self.value, "met": self.met}


def interleaved(
    ours: Callable[[], dict[str, float]], reference: Callable[[], dict[str, float]], runs: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Run both in turn, once for warming up and `runs` times for the record; return the figures of each by name."""
    ours()
    reference()
    pairs = [(ours(), reference()) for _ in range(runs)]
    return _by_name([a for a, _ in pairs]), _by_name([b for _, b in pairs])


def _by_name(figures: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [each[name] for each in figures] for name in figures[0]}


def table(rows: Sequence[Row]) -> str:
    """The rows as text: medians with the spread in percent, the ratio with its range, the target."""
    lines = [("what", "unit", "service", "reference", "ratio", "min..max", "target", "")]
    for row in rows:
        ratios = row.ratios
        lines.append((
            row.name, row.unit, _median(row.ours), f"{_median(row.reference)} {row.beside}".strip(),
            f"{row.value:.3g}", f"{min(ratios):.3g}..{max(ratios):.3g}",
            f"{'>=' if row.at_least else '<='} {row.target:g}", "met" if row.met else "MISSED",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = [f"{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*text, *notes])


def _median(figures: Sequence[float]) -> str:
    if not figures:
        return ""
    middle = statistics.median(figures)
    spread = (max(figures) - min(figures)) / middle / 2 * 100 if middle else 0
    return f"{middle:.4g} ±{spread:.0f}%"


def write(rows: Sequence[Row], path: Path, quick: bool) -> None:
    """Write `results.json`."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    document = {"quick": quick, "machine": machine, "rows": [row.as_json() for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")

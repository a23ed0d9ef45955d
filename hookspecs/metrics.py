"""Figures for a monitoring system, as `jidoteki_metrics` returns them and `GET /metrics` shows them.

Names follow https://prometheus.io/docs/practices/naming/: lower case, the base unit at the end (`_seconds`, `_bytes`,
`_ratio`), and behind it `_total` of what only grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Distribution:
    """The value of a histogram: how often something was observed, and how large it was."""

    count: int
    sum: float
    buckets: Mapping[float, int] = field(default_factory=dict)
    """For each upper bound how many were at most as large; all of them are in `count`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value, and the labels that tell it from others."""

    value: float | Distribution
    labels: Mapping[str, str] = field(default_factory=dict)
    """The same names for each sample of a metric, and few values: each combination is a series of its own."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure, or several of one name that differ in their labels."""

    name: str
    """Such as `jidoteki_backup_size_bytes`; begin with the name of your plugin."""
    type: Literal["counter", "gauge", "histogram"]
    help: str
    """What it is, in one sentence."""
    samples: Sequence[Sample]

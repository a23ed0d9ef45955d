"""Metrics for a monitoring system, as `jidoteki_metrics` returns them and `GET /metrics` shows them.

Names follow https://prometheus.io/docs/practices/naming/: lower case, with the base unit (`_seconds`, `_bytes`,
`_ratio`) at the end, followed by `_total` for a counter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Distribution:
    """The value of a histogram: number, sum and sizes of observations."""

    count: int
    sum: float
    buckets: Mapping[float, int] = field(default_factory=dict)
    """The number of observations up to each upper bound; `count` includes all."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A value with its labels."""

    value: float | Distribution
    labels: Mapping[str, str] = field(default_factory=dict)
    """Each sample of a metric has the same names, with few values: each combination is a series of its own."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its samples, which differ in their labels."""

    name: str
    """Such as `jidoteki_backup_size_bytes`; begin with the name of the plugin."""
    type: Literal["counter", "gauge", "histogram"]
    help: str
    """One sentence that describes it."""
    samples: Sequence[Sample]

"""Figures that are read anew for each answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

HEALTH = {
    ("disk", "percentage"): ("jidoteki_disk_used_percent", "How full the appliance's disk is."),
    ("memory", "percentage"): ("jidoteki_memory_used_percent", "How full the appliance's memory is."),
    ("cpu", "num"): ("jidoteki_processors", "How many processors the appliance has."),
    ("cpu", "cpu5min"): ("jidoteki_load_five_minutes", "The load of five minutes, as a whole number."),
}


class Answered(Collector):
    """The requests that were answered.

    :param counts: how many, by method and status.
    """

    def __init__(self, counts: Mapping[tuple[str, int], int]) -> None:
        self._counts = dict(counts)

    def collect(self) -> Iterable[Metric]:
        """Yield the counter."""
        counter = CounterMetricFamily(
            "jidoteki_requests", "Requests answered since the service started.", labels=("method", "status")
        )
        for (method, status), count in sorted(self._counts.items()):
            counter.add_metric((method, str(status)), count)
        yield counter


class Health(Collector):
    """The numbers of `health.json`.

    :param figures: its content, which a vendor's own collector may have written: whatever is no number is left out.
    """

    def __init__(self, figures: object) -> None:
        self._figures = figures if isinstance(figures, dict) else {}

    def collect(self) -> Iterable[Metric]:
        """Yield a gauge for each figure that is there."""
        for (group, key), (name, help) in HEALTH.items():
            figures = self._figures.get(group)
            value = figures.get(key) if isinstance(figures, dict) else None
            if isinstance(value, int | float):
                yield GaugeMetricFamily(name, help, value)

"""Metrics in the text format of Prometheus, made by its own library.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from jidoteki.hookspecs import Distribution, Metric


class _Snapshot(Collector):
    """A collector of metrics at one moment."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Family]:
        """Return the metrics as the library's families."""
        return [_family(each) for each in self._metrics if each.samples]


def text(metrics: Sequence[Metric]) -> str:
    """Return metrics and those of this process as text, from a registry that is not shared."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(metrics))
    ProcessCollector(registry=registry)
    return generate_latest(registry).decode()


def _family(metric: Metric) -> Family:
    names = sorted(metric.samples[0].labels)
    if metric.type == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=names)
        for sample in metric.samples:
            value = sample.value
            assert isinstance(value, Distribution)
            histogram.add_metric([sample.labels[name] for name in names], list(_buckets(value)), value.sum)
        return histogram
    make = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family = make(metric.name, metric.help, labels=names)
    for sample in metric.samples:
        assert not isinstance(sample.value, Distribution)
        family.add_metric([sample.labels[name] for name in names], sample.value)
    return family


def _buckets(value: Distribution) -> Iterator[tuple[str, float]]:
    for bound in sorted(value.buckets):
        yield repr(float(bound)), value.buckets[bound]
    yield "+Inf", value.count

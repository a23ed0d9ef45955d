"""The metrics for monitoring systems: the service's own counters, the appliance's figures, and those of plugins."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from jidoteki.core.http import tls
from jidoteki.core.jobs import listing
from jidoteki.hookspecs import Distribution, Event, JobRecord, Metric, Sample, paths

if TYPE_CHECKING:
    from jidoteki.core.service.service import Service

logger = logging.getLogger(__name__)

#: Seconds for which measured values and those of plugins are reused.
FRESH: Final = 1.0
HOOK_TIMEOUT: Final = 2.0
MAX_SAMPLES: Final = 1000
MAX_TEXT: Final = 256
REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
JOB_SECONDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
OUTCOMES: Final = ("success", "failed", "cancelled")
STATES: Final = ("running", *OUTCOMES)
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,127}")
_LABEL: Final = re.compile(r"(?!__)[a-z_][a-z0-9_]{0,63}")
#: What the client library itself tells, and the names of a histogram's series.
_PROCESS: Final = ("process_", "python_")
_SUFFIXES: Final = ("_bucket", "_count", "_sum", "_created", "_info")
_TYPES: Final = ("counter", "gauge", "histogram")


class Histogram:
    """A histogram of observations.

    :param bounds: upper bounds of the buckets.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def distribution(self) -> Distribution:
        """Return the current counts."""
        total, buckets = 0, {}
        for bound, count in zip(self._bounds, self._counts, strict=False):
            total += count
            buckets[bound] = total
        return Distribution(total + self._counts[-1], self._sum, buckets)


class Figures:
    """The counters of the service since its start.

    :param failures: number of failures by plugin.
    """

    def __init__(self, failures: Counter[str]) -> None:
        self.failures = failures
        self.requests = Histogram(REQUEST_SECONDS)
        self._jobs: dict[tuple[str, str], Histogram] = {}
        self._lock = threading.Lock()
        self._collecting = asyncio.Lock()
        self._known: list[Metric] = []
        self._read = -math.inf

    def note(self, event: Event) -> None:
        """Count the end of a job."""
        if event.kind != "job" or event.action != "job.end" or event.outcome is None:
            return
        type = event.target.partition(" ")[0]
        with self._lock:
            self._jobs.setdefault((type, event.outcome), Histogram(JOB_SECONDS)).observe(event.duration or 0.0)

    async def collect(self, service: Service) -> list[Metric]:
        """Return all metrics."""
        async with self._collecting:
            return await asyncio.to_thread(self._collect, service)

    def _collect(self, service: Service) -> list[Metric]:
        if time.monotonic() - self._read > FRESH:
            state = str(listing.status(service.jobs.launcher, "update").get("status"))
            own = list(_of_appliance(service, state))
            taken = {each.name for each in (*own, *self._counted(service))}
            self._known = [*own, *_of_plugins(service, taken)]
            self._read = time.monotonic()
        return [*self._counted(service), *self._known]

    def _counted(self, service: Service) -> Iterator[Metric]:
        yield Metric(
            "jidoteki_requests_total", "counter", "Answered requests by method and status.",
            [
                Sample(count, {"method": method, "status": str(status)})
                for (method, status), count in sorted(dict(service.answered).items())
            ],
        )  # fmt: skip
        yield Metric(
            "jidoteki_request_duration_seconds", "histogram", "Time from a request's header to its answer.",
            [Sample(self.requests.distribution())],
        )  # fmt: skip
        with self._lock:
            ended = {key: each.distribution() for key, each in sorted(self._jobs.items())}
        labels = {key: {"type": key[0], "outcome": key[1]} for key in ended}
        # Zeros for what has not happened yet: a series that begins with 1 is no increase to Prometheus.
        counts = {(type, outcome): 0 for type in sorted(service.jobs.launcher.job_types) for outcome in OUTCOMES}
        counts |= {key: each.count for key, each in ended.items()}
        yield Metric(
            "jidoteki_jobs_total", "counter", "Jobs that ended, by type and outcome.",
            [Sample(count, {"type": type, "outcome": outcome}) for (type, outcome), count in counts.items()],
        )  # fmt: skip
        yield Metric(
            "jidoteki_job_duration_seconds", "histogram", "How long jobs took, by type and outcome.",
            [Sample(each, labels[key]) for key, each in ended.items()],
        )  # fmt: skip
        plugins = service.generation.plugins.all
        yield Metric(
            "jidoteki_plugin_failures_total", "counter", "How often a plugin raised or took too long.",
            [Sample(self.failures[each], {"plugin": each}) for each in sorted({plugin.name for plugin in plugins})],
        )  # fmt: skip
        working = {plugin.name: plugin.problem is None for plugin in plugins}
        yield Metric(
            "jidoteki_plugin_up", "gauge", "Whether a plugin is in service, or was left out.",
            [Sample(float(up), {"plugin": name}) for name, up in sorted(working.items())],
        )  # fmt: skip


def _of_plugins(service: Service, taken: set[str]) -> list[Metric]:
    """Return the valid metrics of plugins; blocks.

    :param taken: the names of the host's.
    """
    found: dict[str, Metric] = {}
    answers = service.generation.plugins.call("jidoteki_metrics", HOOK_TIMEOUT, appliance=service.appliance)
    for plugin, answer in answers:
        for each in answer if isinstance(answer, list) else []:
            is_taken = _name_of(each) in taken | found.keys()
            problem = f"the metric {each.name} is there already" if is_taken else fault(each)
            if problem:
                logger.error("The plugin %s: %s", plugin.name, problem)
            else:
                found[each.name] = each
    return list(found.values())


def _name_of(metric: Any) -> object:
    return metric.name if isinstance(metric, Metric) and isinstance(metric.name, str) else None


def fault(metric: Any) -> str | None:
    """Return why a plugin's metric is invalid, or None."""
    if not isinstance(metric, Metric) or not isinstance(metric.name, str) or not _NAME.fullmatch(metric.name):
        return "jidoteki_metrics must return a list of Metric with names such as shelf_books_total"
    if metric.name.startswith(_PROCESS) or metric.name.endswith(_SUFFIXES):
        return f"the metric {metric.name}: names that begin so, or end so, mean something else to Prometheus"
    if metric.type not in _TYPES or not isinstance(metric.help, str):
        return f"the metric {metric.name} must be one of {', '.join(_TYPES)}, and have a help"
    if (metric.type == "counter") != metric.name.endswith("_total"):
        return f"the metric {metric.name}: the names of counters, and only those, end with _total"
    try:
        samples = list(metric.samples)
        wrong = len(samples) > MAX_SAMPLES or not all(_is_sample(each, metric.type) for each in samples)
        names = {frozenset(each.labels) for each in samples if not wrong}
        series = {frozenset(each.labels.items()) for each in samples if not wrong}
    except (TypeError, AttributeError, ValueError):
        wrong = True
    if wrong or len(names) > 1 or len(series) < len(samples):
        return f"the samples of {metric.name} make no sense, have unequal labels, or are more than {MAX_SAMPLES}"
    return None


def _is_sample(sample: Any, type: str) -> bool:
    if not isinstance(sample, Sample) or isinstance(sample.value, Distribution) != (type == "histogram"):
        return False
    numbers: list[Any] = [sample.value]
    if isinstance(sample.value, Distribution):
        buckets = sample.value.buckets
        numbers = [sample.value.count, sample.value.sum, *buckets, *buckets.values()]
    return all(isinstance(each, int | float) for each in numbers) and all(
        isinstance(name, str) and _LABEL.fullmatch(name) and isinstance(value, str) and len(value) <= MAX_TEXT
        for name, value in sample.labels.items()
    )


def _of_appliance(service: Service, state: str) -> Iterator[Metric]:
    """Yield the metrics of the appliance; blocks."""
    yield from _health(service)
    expiry = _expiry(service)
    if expiry is not None:
        name = "jidoteki_certificate_expiry_timestamp_seconds"
        yield Metric(name, "gauge", "When the certificate that is served ceases to be valid.", [Sample(expiry)])
    version = _read(lambda: service.appliance.read_text(service.appliance.etc / "version.txt"))
    shown = (version or "").partition("\n")[0].strip()[:MAX_TEXT]
    if shown:
        yield Metric("jidoteki_version_info", "gauge", "The version in force.", [Sample(1, {"version": shown})])
    known = [Sample(float(state == each), {"state": each}) for each in STATES]
    yield Metric("jidoteki_update_state", "gauge", "How the last update went, or goes.", known)
    seen, launcher = service.jobs.seen, service.jobs.launcher
    yield from _last_jobs(seen.unchanged(launcher) or seen.newest(launcher))


def _last_jobs(records: list[JobRecord]) -> Iterator[Metric]:
    running: dict[str, float] = {}
    ended: dict[str, float] = {}
    succeeded: dict[str, float] = {}
    for record in records:  # the newest first
        running.setdefault(record.type, float(record.status == "running"))
        if record.ended is not None:
            ended.setdefault(record.type, record.ended)
            if record.status == "success":
                succeeded.setdefault(record.type, record.ended)
    yield _by_type("jidoteki_job_running", "Whether a job of this type runs.", running)
    yield _by_type("jidoteki_job_last_end_timestamp_seconds", "When the last job of this type ended.", ended)
    name = "jidoteki_job_last_success_timestamp_seconds"
    yield _by_type(name, "When the last job of this type ended with success.", succeeded)


def _by_type(name: str, help: str, values: Mapping[str, float]) -> Metric:
    return Metric(name, "gauge", help, [Sample(value, {"type": type}) for type, value in sorted(values.items())])


def _expiry(service: Service) -> float | None:
    def read() -> float:
        content = paths.read_regular(tls.bundle(service.appliance), follow=True)
        return x509.load_pem_x509_certificate(content).not_valid_after_utc.timestamp()

    expiry: float | None = _read(read)
    return expiry


_SHOWN: Final = (
    ("jidoteki_disk_used_ratio", "disk", "percentage", 0.01, "How full the disk is."),
    ("jidoteki_memory_used_ratio", "memory", "percentage", 0.01, "How much of the memory is used."),
    ("jidoteki_processors", "cpu", "num", 1, "How many processors there are."),
)


def _health(service: Service) -> Iterator[Metric]:
    """Yield the numeric figures of `/health`, which another program may have written."""
    figures = service.unwritten_health or _read(
        lambda: json.loads(paths.read_regular(service.appliance.etc / "health.json", follow=True))
    )
    for name, part, key, factor, help in _SHOWN:
        value = _member(figures, part, key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield Metric(name, "gauge", help, [Sample(value * factor)])
    loads = _loads(_member(figures, "cpu", "load"))
    if loads:
        samples = [Sample(value, {"minutes": each}) for each, value in zip(("1", "5", "15"), loads, strict=True)]
        yield Metric("jidoteki_load", "gauge", "The mean number of processes that wanted to run.", samples)


def _member(figures: Any, part: str, key: str) -> Any:
    found = figures.get(part) if isinstance(figures, dict) else None
    return found.get(key) if isinstance(found, dict) else None


def _loads(text: Any) -> list[float] | None:
    try:
        loads = [float(each) for each in text.split(",")]
    except (AttributeError, ValueError):
        return None
    return loads if len(loads) == 3 and all(map(math.isfinite, loads)) else None


def _read(read: Any) -> Any:
    try:
        return read()
    except (OSError, ValueError, RecursionError):
        return None

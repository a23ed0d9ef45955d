"""What is counted as it happens."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from jidoteki.hookspecs import Event


class Happenings:
    """Counts events, from the start of the service on."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._refused = Counter(
            "jidoteki_authentication_failures", "Requests whose credentials were wrong.", registry=self.registry
        )
        self._ended = Counter("jidoteki_jobs_ended", "Jobs that ended.", ("job", "status"), registry=self.registry)
        self._running = Gauge(
            "jidoteki_job_running", "Whether a job of this kind runs.", ("job",), registry=self.registry
        )
        self._last = Gauge(
            "jidoteki_job_last_end_timestamp_seconds",
            "When a job of this kind ended.",
            ("job",),
            registry=self.registry,
        )

    def count(self, event: Event) -> None:
        """Count one event; those of jobs have the target `TYPE STATUS`."""
        if event.action == "authentication.failure":
            self._refused.inc(event.count)
        if event.kind == "job":
            job_type, _, status = event.target.partition(" ")
            self._running.labels(job_type).set(event.action == "job.start")
            if event.action == "job.end":
                self._ended.labels(job_type, status).inc()
                self._last.labels(job_type).set(event.time)

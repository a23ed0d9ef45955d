"""Fakes of the objects that request handlers receive, for the test's own process: they record calls and run nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jidoteki.core.config import loading
from jidoteki.hookspecs import (
    PREFIX,
    ApiError,
    Appliance,
    Caller,
    JobOutcome,
    JobRecord,
    JsonResponse,
    LiveEvent,
    Metric,
    Response,
    Service,
    Trial,
)

if TYPE_CHECKING:
    from jidoteki.hookspecs import Request

NOWHERE = Path("/nonexistent")


@dataclass
class FakeService:
    """A service that keeps what is published, tells nobody, and answers what it is told to.

    It satisfies `jidoteki.hookspecs.Service`.

    :param answers: what endpoints show, by their paths.
    :param published: the events that were published.
    :param listeners: what subscribed: call them as the service would.
    """

    answers: Mapping[str, Any] = field(default_factory=dict)
    published: list[LiveEvent] = field(default_factory=list)
    listeners: list[Callable[[LiveEvent], None]] = field(default_factory=list)

    def publish(self, event: LiveEvent) -> None:
        """Add to `published`."""
        self.published.append(event)

    def subscribe(self, listener: Callable[[LiveEvent], None]) -> Callable[[], None]:
        """Add to `listeners`."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    async def fetch(self, path: str) -> Any:
        """Return the one of `answers`.

        :raises ApiError: 404, there is none.
        """
        if path not in self.answers:
            raise ApiError(404)
        return self.answers[path]


@dataclass
class FakeRequest:
    """A fake request for handlers that the test calls itself: `await start(FakeRequest(appliance, {"host": …}))`.

    It implements `jidoteki.hookspecs.Request`. No validator is run and no job is started.

    :param appliance: such as `jidoteki_appliance` makes.
    :param values: the parameters as the endpoint's validators return them.
    :param headers: with names in lower case.
    :param config: the plugin's section of the configuration.
    :param host_config: the host's configuration; by default that of an appliance without a configuration file.
    :param endpoints: method and path of every active endpoint.
    :param dry_run: whether nothing may be changed.
    :param caller: who makes the request.
    :param credential: a name for what the client showed.
    :param body_digest: what the client signed for the body.
    :param chunks: the body, piece by piece.
    :param answered: the number of answered requests, by method and status.
    :param outcome: the result of `run_job`.
    :param status: the result of `job_status`.
    :param on_trial: the result of `trial`.
    :param running: whether a job is running that can be cancelled.
    :param records: the runs of jobs, newest first.
    :param logs: the logs of runs, by their ids.
    :param resumed: whether the client resumes a download.
    :param figures: the result of `metrics`.
    :param service: the running service.
    :param allowed: method and path of what the token may do; None for everything.
    :param tickets: the paths of the issued tickets.
    :param started: the started jobs: name and input.
    :param confirmed: the job types whose change was confirmed.
    :param cancelled: the names of the cancelled jobs, and the ids of the cancelled runs.
    """

    appliance: Appliance
    values: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=loading.defaults)
    endpoints: Sequence[tuple[str, str]] = ()
    dry_run: bool = False
    caller: Caller = field(default_factory=lambda: Caller("admin", None, None))
    credential: str = "0" * 32
    body_digest: bytes | None = None
    chunks: Sequence[bytes] = ()
    answered: Mapping[tuple[str, int], int] = field(default_factory=dict)
    outcome: JobOutcome = field(default_factory=lambda: JobOutcome("000001-fake", "success"))
    status: Mapping[str, Any] = field(default_factory=lambda: {"status": None, "percentage": None, "log": None})
    on_trial: Trial | None = None
    running: bool = False
    records: Sequence[JobRecord] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    resumed: bool = False
    figures: Sequence[Metric] = ()
    service: Service = field(default_factory=FakeService)
    allowed: Sequence[tuple[str, str]] | None = None
    tickets: list[str] = field(default_factory=list)
    started: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)

    def may(self, method: str, path: str) -> bool:
        """Look into `allowed`."""
        return self.allowed is None or (method, path) in self.allowed

    async def body(self) -> AsyncIterator[bytes]:
        """Yield `chunks`."""
        for each in self.chunks:
            yield each

    def issue_ticket(self, path: str, seconds: float, filename: str = "") -> str:
        """Add to `tickets`, and return the same for each."""
        if not self.dry_run:
            self.tickets.append(path)
        return "" if self.dry_run else "ticket"

    async def check_download(self, path: str) -> None:
        """Do nothing: there is something to download."""

    async def metrics(self) -> list[Metric]:
        """Return `figures`."""
        return list(self.figures)

    async def start_job(self, job_type: str, /, **values: Any) -> Response:
        """Add to `started`, and return a 202 response with the default `location`."""
        self.started.append((job_type, values))
        location = f"{PREFIX}/{job_type}"
        return JsonResponse({"Status": "202 Accepted", "Location": location}, 202, {"Location": location})

    async def run_job(self, job_type: str, /, *, join: bool = False, **values: Any) -> JobOutcome:
        """Add to `started`, and return `outcome`."""
        self.started.append((job_type, values))
        return self.outcome

    async def trial(self, job_type: str) -> Trial | None:
        """Return `on_trial`."""
        return self.on_trial

    async def confirm_job(self, job_type: str) -> None:
        """Add to `confirmed`.

        :raises ApiError: there is no change `on_trial`, or it does not wait yet.
        """
        if self.on_trial is None or not self.on_trial.is_waiting:
            raise ApiError(400, "Nothing waits for a confirmation")
        if not self.dry_run:
            self.confirmed.append(job_type)

    async def resumes(self, path: Path, filename: str) -> bool:
        """Return `resumed`."""
        return self.resumed

    async def cancel_job(self, job_type: str) -> bool:
        """Add to `cancelled` if one is `running`."""
        if self.running and not self.dry_run:
            self.cancelled.append(job_type)
        return self.running

    async def cancel_run(self, id: str) -> None:
        """Add to `cancelled` when `records` has a run of this id that is cancellable.

        :raises ApiError: it has none, or that one is not cancellable.
        """
        record = await self.job_record(id)
        if record is None or not record.cancellable:
            raise ApiError(404 if record is None else 400, "There is nothing to cancel")
        if not self.dry_run:
            self.cancelled.append(id)

    async def job_running(self, job_type: str) -> bool:
        """Return `running`."""
        return self.running

    async def job_status(self, job_type: str) -> dict[str, Any]:
        """Return `status`."""
        return dict(self.status)

    async def job_records(self) -> list[JobRecord]:
        """Return `records`."""
        return list(self.records)

    async def job_record(self, id: str) -> JobRecord | None:
        """Return the record with this id in `records`."""
        return next((each for each in self.records if each.id == id), None)

    async def job_log(self, id: str, lines: int) -> str | None:
        """Return the last lines of this run in `logs`."""
        log = self.logs.get(id)
        return None if log is None else "".join(log.splitlines(keepends=True)[-lines:])

    async def job_log_file(self, id: str) -> Path | None:
        """Write what `logs` has of this run where a service has it, and return that file."""
        if id not in self.logs:
            return None
        path = self.appliance.jobs / f"{id}.log"
        await asyncio.to_thread(self.appliance.replace_file, path, self.logs[id], 0o600)
        return path


if TYPE_CHECKING:
    # The type checker verifies that they implement the contract.
    def _satisfy(request: FakeRequest, service: FakeService) -> tuple[Request, Service]:
        return request, service

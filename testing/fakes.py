"""Fakes of the objects that handlers receive, for the test's own process: they record calls and run nothing."""

from __future__ import annotations

import asyncio
import os
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
    JobCancelledError,
    JobError,
    JobOutcome,
    JobRecord,
    JsonResponse,
    LiveEvent,
    Metric,
    Response,
    Service,
)

if TYPE_CHECKING:
    from jidoteki.hookspecs import Job, Request

NOWHERE = Path("/nonexistent")


@dataclass
class FakeJob:
    """A fake job for handlers that the test calls itself: `run(FakeJob(appliance, {"host": "a.example"}))`.

    It implements `jidoteki.hookspecs.Job`. No program is run and nothing is unpacked; use `jidoteki_client` or
    `jidoteki_host` for both, and for `jidoteki_apply` of other plugins.

    :param appliance: such as `jidoteki_appliance` makes.
    :param input: the values that the request handler would pass to `start_job`.
    :param workspace: an empty directory; by default one that does not exist.
    :param config: the plugin's section of the configuration.
    :param host_config: the host's configuration; by default that of an appliance without a configuration file.
    :param dry_run: whether only `check` is called.
    :param id: the id of this run.
    :param exit_statuses: of programs and scripts, by file name; 0 for others.
    :param outputs: of programs run by `output`, by file name; empty for others.
    :param applied: whether a plugin applies the settings that `apply` offers.
    :param cancelled: whether the job is cancelled: its next step raises JobCancelledError, once.
    :param previewed: the facts passed to `preview`.
    :param lines: the logged lines.
    :param percentages: the values passed to `progress`.
    :param calls: other calls, in order: the name of the method, and its positional arguments.
    """

    appliance: Appliance
    input: Mapping[str, Any] = field(default_factory=dict)
    workspace: Path = NOWHERE
    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=loading.defaults)
    dry_run: bool = False
    id: str = "000001-fake"
    exit_statuses: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    applied: bool = False
    cancelled: bool = False
    previewed: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    percentages: list[int] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def preview(self, facts: Mapping[str, Any]) -> None:
        """Add to `previewed` in a dry run."""
        self._step()
        if self.dry_run:
            self.previewed.update(facts)

    def commit(self) -> None:
        """Be cancelled if that was told before; then nothing cancels it."""
        self._step()

    def progress(self, percentage: int, *, final: bool = False) -> None:
        """Add to `percentages`."""
        self._step()
        self.percentages.append(percentage)

    def log(self, message: str) -> None:
        """Add to `lines`."""
        self._step()
        self.lines.append(message)

    def log_plain(self, message: str) -> None:
        """Add to `lines`."""
        self.log(message)

    def command(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
    ) -> int:
        """Record the call, and return the status in `exit_statuses`."""
        return self._ran("command", argv[0], *argv)

    def output(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
        limit: int = 1024 * 1024,
    ) -> tuple[int, bytes]:
        """Record the call, and return the values in `exit_statuses` and `outputs`.

        :raises JobError: the output is longer than `limit`.
        """
        status = self._ran("output", argv[0], *argv)
        name = os.path.basename(argv[0])
        printed = self.outputs.get(name, b"")
        if len(printed) > limit:
            raise JobError(f"{name} printed more than {limit} bytes")
        return status, printed

    def script(self, path: Path, *arguments: str, timeout: float, cwd: Path | None = None, umask: int = 0o022) -> int:
        """Record the call, and return the status in `exit_statuses`."""
        return self._ran("script", path, path, *arguments)

    def vendor_command(self, name: str, *arguments: str) -> bool:
        """Record the call; a script of any name exists.

        :raises JobError: its status in `exit_statuses` is not 0.
        """
        status = self._ran("vendor_command", name, name, *arguments)
        if status:
            raise JobError(f"{name} failed with exit status {status}")
        return True

    def unpack(
        self, archive: Path, into: Path | int, links_below: Path, own: Callable[[], bool] = lambda: False,
        elsewhere: Callable[[str], int | None] = lambda path: None, room: int = 0,
    ) -> None:  # fmt: skip
        """Record the call; nothing is unpacked."""
        self._step()
        self.calls.append(("unpack", archive, into, links_below))

    def apply(self, name: str, document: dict[str, Any]) -> bool:
        """Record the call, and return `applied`."""
        self._step()
        self.calls.append(("apply", name, document))
        return self.applied

    def _ran(self, method: str, program: str | Path, *arguments: str | Path) -> int:
        self._step()
        self.calls.append((method, *arguments))
        return self.exit_statuses.get(os.path.basename(program), 0)

    def _step(self) -> None:
        if self.cancelled:
            self.cancelled = False
            raise JobCancelledError


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
    :param running: whether a job is running that can be cancelled.
    :param records: the runs of jobs, newest first.
    :param logs: the logs of runs, by their ids.
    :param resumed: whether the client resumes a download.
    :param figures: the result of `metrics`.
    :param service: the running service.
    :param allowed: method and path of what the token may do; None for everything.
    :param tickets: the paths of the issued tickets.
    :param started: the started jobs: name and input.
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

    def may(self, method: str, path: str) -> bool:
        """Look into `allowed`."""
        return self.allowed is None or (method, path) in self.allowed

    async def body(self) -> AsyncIterator[bytes]:
        """Yield `chunks`."""
        for each in self.chunks:
            yield each

    def issue_ticket(self, path: str, seconds: float) -> str:
        """Add to `tickets`, and return the same for each."""
        if not self.dry_run:
            self.tickets.append(path)
        return "" if self.dry_run else "ticket"

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
    def _satisfy(job: FakeJob, request: FakeRequest) -> tuple[Job, Request]:
        return job, request

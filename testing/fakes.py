"""What a handler is handed, in the test's own process: it records what it is told and runs nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jidoteki.core.config import loading
from jidoteki.hookspecs import (
    PREFIX,
    ApiError,
    Appliance,
    Caller,
    JobCancelled,
    JobFailed,
    JobOutcome,
    JobRecord,
    JsonResponse,
    Metric,
    Response,
)

if TYPE_CHECKING:
    from jidoteki.hookspecs import Job, Request

NOWHERE = Path("/nonexistent")


@dataclass
class FakeJob:
    """A job for handlers that are called by the test itself: `run(FakeJob(appliance, {"host": "a.example"}))`.

    It satisfies `jidoteki.hookspecs.Job`. No program is run and nothing is unpacked; for both, and for `jidoteki_apply`
    of other plugins, there are `jidoteki_client` and `jidoteki_host`.

    :param appliance: such as `jidoteki_appliance` makes.
    :param input: what the request handler would pass to `start_job`.
    :param workspace: an empty directory; by default one that does not exist.
    :param config: the plugin's section of the configuration.
    :param settings: the whole configuration; by default that of an appliance without a configuration file.
    :param dry_run: whether this is about `check` alone.
    :param id: the id of this run.
    :param exit_statuses: of programs and scripts, by file name; 0 for one that is not named.
    :param outputs: what programs print for `output`, by file name; nothing for one that is not named.
    :param applied: whether a plugin takes what `apply` offers.
    :param cancelled: whether the job was told to end: its next step raises JobCancelled, once.
    :param previewed: what a dry run told.
    :param lines: what was logged.
    :param percentages: what `progress` was told.
    :param calls: what else was called, in order: the name of the method, and its arguments by position.
    """

    appliance: Appliance
    input: Mapping[str, Any] = field(default_factory=dict)
    workspace: Path = NOWHERE
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=loading.defaults)
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
        """Record the call, and return what is in `exit_statuses` and `outputs`.

        :raises JobFailed: that is longer than `limit`.
        """
        status = self._ran("output", argv[0], *argv)
        name = os.path.basename(argv[0])
        printed = self.outputs.get(name, b"")
        if len(printed) > limit:
            raise JobFailed(f"{name} printed more than {limit} bytes")
        return status, printed

    def script(self, path: Path, *arguments: str, timeout: float, cwd: Path | None = None, umask: int = 0o022) -> int:
        """Record the call, and return the status in `exit_statuses`."""
        return self._ran("script", path, path, *arguments)

    def vendor_command(self, name: str, *arguments: str) -> bool:
        """Record the call; there is a script of every name.

        :raises JobFailed: `exit_statuses` has another status than 0 for it.
        """
        status = self._ran("vendor_command", name, name, *arguments)
        if status:
            raise JobFailed(f"{name} failed with exit status {status}")
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
            raise JobCancelled


@dataclass
class FakeRequest:
    """A request for handlers that are called by the test itself: `await start(FakeRequest(appliance, {"host": …}))`.

    It satisfies `jidoteki.hookspecs.Request`. No validator is run and no job is started.

    :param appliance: such as `jidoteki_appliance` makes.
    :param values: the parameters as the endpoint's validators return them.
    :param headers: by their names in lower case.
    :param config: the plugin's section of the configuration.
    :param settings: the whole configuration; by default that of an appliance without a configuration file.
    :param endpoints: method and path of every endpoint that is served.
    :param dry_run: whether nothing may be changed.
    :param caller: who makes the request.
    :param answered: how many requests the service answered, by method and status.
    :param outcome: how a job of `run_job` ends.
    :param status: what `job_status` returns.
    :param running: whether a job runs that can be cancelled.
    :param records: the runs of jobs, newest first.
    :param logs: what runs wrote, by their ids.
    :param resumed: whether the client asks for the rest of a file.
    :param figures: what `metrics` returns.
    :param started: the jobs that were started: name and input.
    :param cancelled: the names of the jobs, and the ids of the runs, that were cancelled.
    """

    appliance: Appliance
    values: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=loading.defaults)
    endpoints: Sequence[tuple[str, str]] = ()
    dry_run: bool = False
    caller: Caller = field(default_factory=lambda: Caller("admin", None, None))
    answered: Mapping[tuple[str, int], int] = field(default_factory=dict)
    outcome: JobOutcome = field(default_factory=lambda: JobOutcome("000001-fake", "success"))
    status: Mapping[str, Any] = field(default_factory=lambda: {"status": None, "percentage": None, "log": None})
    running: bool = False
    records: Sequence[JobRecord] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    resumed: bool = False
    figures: Sequence[Metric] = ()
    started: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def metrics(self) -> list[Metric]:
        """Return `figures`."""
        return list(self.figures)

    async def start_job(self, kind: str, **values: Any) -> Response:
        """Add to `started`, and return the answer 202; a job of another `location` would have that in it."""
        self.started.append((kind, values))
        location = f"{PREFIX}/{kind}"
        return JsonResponse({"Status": "202 Accepted", "Location": location}, 202, {"Location": location})

    async def run_job(self, kind: str, *, join: bool = False, **values: Any) -> JobOutcome:
        """Add to `started`, and return `outcome`."""
        self.started.append((kind, values))
        return self.outcome

    async def resumes(self, path: Path, filename: str) -> bool:
        """Return `resumed`."""
        return self.resumed

    async def cancel_job(self, kind: str) -> bool:
        """Add to `cancelled` when one is `running`."""
        if self.running and not self.dry_run:
            self.cancelled.append(kind)
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

    async def job_running(self, kind: str) -> bool:
        """Return `running`."""
        return self.running

    async def job_status(self, kind: str) -> dict[str, Any]:
        """Return `status`."""
        return dict(self.status)

    async def job_records(self) -> list[JobRecord]:
        """Return `records`."""
        return list(self.records)

    async def job_record(self, id: str) -> JobRecord | None:
        """Return the one of this id in `records`."""
        return next((each for each in self.records if each.id == id), None)

    async def job_log(self, id: str, lines: int) -> str | None:
        """Return the last lines of what `logs` has of this run."""
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
    # The type checker holds them to the contract.
    def _satisfy(job: FakeJob, request: FakeRequest) -> tuple[Job, Request]:
        return job, request

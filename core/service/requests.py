"""The request object that handlers receive: validated values, the appliance, and functions to start jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from jidoteki.core.auth.authentication import FORBIDDEN
from jidoteki.core.auth.tickets import TooManyTicketsError
from jidoteki.core.auth.users import Holder
from jidoteki.core.http.responses import status_line
from jidoteki.core.http.resuming import ANYWHERE, Resuming
from jidoteki.core.http.routes import Route
from jidoteki.core.jobs import listing
from jidoteki.core.jobs.cancelling import NotCancellableError
from jidoteki.core.service import confirmations, downloads
from jidoteki.core.service.refusals import refusing
from jidoteki.hookspecs import (
    PREFIX,
    ApiError,
    Appliance,
    Caller,
    JobOutcome,
    JobRecord,
    JobType,
    JsonResponse,
    Metric,
    Request,
    Response,
    Trial,
    trials,
)

if TYPE_CHECKING:
    from jidoteki.core.service.service import Service


NO_SUCH_JOB = "There is no such job, or none any more: GET /jobs lists those that are known"


@dataclass(slots=True)
class Change:
    """What a request changes, and what becomes of that.

    :param id: what it is called in the audit log.
    :param dry_run: whether it is only judged.
    :param confirm: seconds within which it must be confirmed; 0 if it is final at once.
    :param job_id: of the job that was started for it.
    """

    id: str
    dry_run: bool
    confirm: int = 0
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """Implements `jidoteki.hookspecs.Request`; the mandatory endpoints alone may use all of `service`.

    :param change: None for a request that only reads.
    :param stream: the body, where the endpoint's handler reads it.
    """

    config: Mapping[str, Any]
    service: Service
    client: str
    holder: Holder
    headers: Mapping[str, str]
    values: Mapping[str, Any]
    body_digest: bytes | None = None
    change: Change | None = None
    stream: AsyncIterator[bytes] | None = None

    @property
    def appliance(self) -> Appliance:
        """The appliance that the request administers."""
        return self.service.appliance

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be changed."""
        return self.change is not None and self.change.dry_run

    @property
    def user(self) -> str:
        """The name of the authenticated user."""
        return self.holder.user.name

    @property
    def credential(self) -> str:
        """The name of the credential."""
        return self.holder.credential

    def body(self) -> AsyncIterator[bytes]:
        """Return the body, for an endpoint that declares one."""
        if self.stream is None:
            raise RuntimeError("The endpoint declares no body")
        return self.stream

    @property
    def host_config(self) -> Mapping[str, Any]:
        """The whole configuration."""
        return self.service.generation.config.values

    @property
    def endpoints(self) -> Sequence[tuple[str, str]]:
        """Method and path of all that is served."""
        return [(route.endpoint.method, route.path) for route in self.service.generation.routes.all()]

    @property
    def caller(self) -> Caller:
        """The authenticated user."""
        return Caller(self.user, self.holder.user.scopes, self.holder.expires)

    def permit(self) -> None:
        """Check that the user is still authorized; reads the disk, so call it in a thread.

        :raises ApiError: 403, the token was changed or revoked.
        """
        try:
            holder = self.service.generation.authenticator.holder_on_disk(self.user)
        except OSError as error:
            raise ApiError(403, FORBIDDEN) from error
        if holder != self.holder:
            raise ApiError(403, FORBIDDEN)

    def may(self, method: str, path: str) -> bool:
        """Return whether the user may make another request."""
        route = (self.service.generation.routes.find(path) or {}).get(method)
        changes = route.changes if isinstance(route, Route) else method != "GET"
        return self.holder.user.may(method, path if route is None else route.path, changes)

    @property
    def answered(self) -> Mapping[tuple[str, int], int]:
        """Number of responses since the start, by method and status."""
        return self.service.answered

    def issue_ticket(self, path: str, seconds: float, filename: str = "") -> str:
        """Return a ticket for one download."""
        path = path.removesuffix("/")
        downloads.route_of(self, path)
        if self.dry_run:
            return ""
        try:
            return self.service.tickets.issue(self.holder, path, seconds, filename)
        except TooManyTicketsError as error:
            headers = {"Retry-After": str(int(seconds))}
            raise ApiError(429, "Too many tickets wait for their use", headers=headers) from error

    async def check_download(self, path: str) -> None:
        """Check that there is something to download."""
        await downloads.check(self, path.removesuffix("/"))

    async def metrics(self) -> list[Metric]:
        """Return the metrics."""
        return await self.service.figures.collect(self.service)

    async def start_job(self, job_type: str, /, **values: Any) -> Response:
        """Start a job and return 202."""
        job = self.service.jobs.job_type(job_type)
        headers = {}
        body: dict[str, Any] = {"Status": status_line(202)}
        if self.dry_run:
            body = {**await self._check_job(job, values), **body}
        else:
            async with refusing(self.service, job, "started"):
                started = await self.service.jobs.start(
                    job_type, values, self.client, self.user, self.permit, self._confirm(job)
                )
            headers["Job-Id"] = started.record.id
            self.started(started.record.id)
        location = f"/{job_type}" if job.location is None else job.location
        if location:
            body["Location"] = headers["Location"] = PREFIX + location
        return JsonResponse(body, 202, headers)

    async def run_job(self, job_type: str, /, *, join: bool = False, **values: Any) -> JobOutcome:
        """Start a job and wait for its end."""
        job = self.service.jobs.job_type(job_type)
        async with refusing(self.service, job, "started"):
            if self.dry_run:
                return await self.service.jobs.check(job_type, values)
            outcome = await self.service.jobs.run(job_type, values, self.client, self.user, self.permit, join)
        self.started(outcome.id)
        return outcome

    def _confirm(self, job: JobType) -> int:
        return self.change.confirm if self.change and job.revert else 0

    async def trial(self, job_type: str) -> Trial | None:
        """Return the change that is on trial."""
        return await asyncio.to_thread(trials.find, self.appliance.jobs, job_type)

    async def confirm_job(self, job_type: str) -> None:
        """Confirm the change that is on trial."""
        await confirmations.confirm(self, job_type)

    def started(self, id: str) -> None:
        """Note the id of the run that the change started or ended."""
        if self.change:
            self.change.job_id = id

    async def resumes(self, path: Path, filename: str) -> bool:
        """Return whether the client asks for the rest of this very file."""
        try:
            status = await asyncio.to_thread(path.lstat)
        except OSError:
            return False
        return self.resuming(filename, generated=True).wanted(status)

    def resuming(self, filename: str, *, generated: bool) -> Resuming:
        """Return the record of sent files for this client and a file."""
        where = self.client if generated else ANYWHERE
        return Resuming(self.service.sent, (where, self.user, filename), self.headers, generated)

    async def cancel_job(self, job_type: str) -> bool:
        """Cancel the running job of this type."""
        if self.dry_run:
            return await self.job_running(job_type)
        async with refusing(self.service, self.service.jobs.job_type(job_type), "cancelled"):
            return await self.service.jobs.cancel(job_type)

    async def cancel_run(self, id: str) -> None:
        """Cancel one run of a job."""
        jobs = self.service.jobs
        try:
            await (jobs.check_cancellable(id) if self.dry_run else jobs.cancel_run(id))
        except KeyError as error:
            raise ApiError(404, NO_SUCH_JOB) from error
        except (NotCancellableError, OSError) as error:
            raise ApiError(400, str(error)) from error

    async def job_running(self, job_type: str) -> bool:
        """Return whether a job of this type is running."""
        return await asyncio.to_thread(self.service.jobs.launcher.is_running, job_type)

    async def job_status(self, job_type: str) -> dict[str, Any]:
        """Return the status of the last run of this type."""
        return await asyncio.to_thread(listing.status, self.service.jobs.launcher, job_type)

    async def job_records(self) -> list[JobRecord]:
        """Return the runs of jobs, the newest first."""
        jobs = self.service.jobs
        unchanged = jobs.seen.unchanged(jobs.launcher)
        return await asyncio.to_thread(jobs.seen.newest, jobs.launcher) if unchanged is None else unchanged

    async def job_record(self, id: str) -> JobRecord | None:
        """Return one run of a job."""
        return await asyncio.to_thread(listing.one, self.service.jobs.launcher, id)

    async def job_log(self, id: str, lines: int) -> str | None:
        """Return the last lines of a run's log."""
        return await asyncio.to_thread(listing.last_lines, self.service.jobs.launcher.records, id, lines)

    async def job_log_file(self, id: str) -> Path | None:
        """Return the path of a run's whole log."""
        return await asyncio.to_thread(listing.log_file, self.service.jobs.launcher.records, id)

    async def _check_job(self, job: JobType, values: Mapping[str, Any]) -> Mapping[str, Any]:
        async with refusing(self.service, job, "checked"):
            outcome = await self.service.jobs.check(job.name, values)
        if outcome.status == "failed":
            raise ApiError(400, outcome.error_message, outcome.error_code)
        return outcome.preview


async def handled(route: Route, request: ApiRequest) -> Response:
    """Call the handler of a route, and count its failures."""
    try:
        return await route.endpoint.handler(request)
    except (ApiError, web.HTTPException, ConnectionError, asyncio.CancelledError):
        raise
    except BaseException:
        request.service.figures.failures[route.plugin.name] += 1
        raise


def own(request: Request) -> ApiRequest:
    """Return the request with what only the host's own endpoints may use."""
    assert isinstance(request, ApiRequest)
    return request

"""What a request handler is handed: validated values, the appliance, and jobs to start."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jidoteki.core.auth.authentication import FORBIDDEN
from jidoteki.core.auth.tickets import TooManyTicketsError
from jidoteki.core.auth.users import Holder
from jidoteki.core.http.responses import status_line
from jidoteki.core.http.resuming import ANYWHERE, Resuming
from jidoteki.core.http.routes import Route
from jidoteki.core.jobs import listing
from jidoteki.core.jobs.cancelling import NotCancellableError
from jidoteki.core.jobs.launch import BusyError
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
)

if TYPE_CHECKING:
    from jidoteki.core.service.service import Service


NO_SUCH_JOB = "There is no such job, or none any more: GET /jobs lists those that are known"
BUSY = "E1004"
"""What tells a script to wait and try again: the code that the original has for an update that runs."""


class RetryLaterError(ApiError):
    """Nothing was done because something else is: the same request may be made again."""


@dataclass(slots=True)
class ApiRequest:
    """Implements `jidoteki.hookspecs.Request`; the mandatory endpoints alone may use all of `service`."""

    appliance: Appliance
    config: Mapping[str, Any]
    service: Service
    client: str
    holder: Holder
    headers: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    id: str = ""
    """Names a change in the audit log."""
    job_id: str = ""
    body_digest: bytes | None = None
    stream: AsyncIterator[bytes] | None = None
    """The body, where the endpoint's handler reads it."""

    @property
    def user(self) -> str:
        """Who makes the request."""
        return self.holder.user.name

    @property
    def credential(self) -> str:
        """A name for the credential."""
        name = b"credential\0" + self.holder.key + b"\0" + self.user.encode()
        return hashlib.sha256(name).hexdigest()[:32]

    def body(self) -> AsyncIterator[bytes]:
        """The body of a request of an endpoint that declares one."""
        if self.stream is None:
            raise RuntimeError("The endpoint declares no body")
        return self.stream

    @property
    def host_config(self) -> Mapping[str, Any]:
        """The host's configuration."""
        return self.service.generation.config.values

    @property
    def endpoints(self) -> Sequence[tuple[str, str]]:
        """What is served."""
        return [(route.endpoint.method, route.path) for route in self.service.generation.routes.all()]

    @property
    def caller(self) -> Caller:
        """Who makes the request."""
        return Caller(self.user, self.holder.user.scopes, self.holder.expires)

    def permit(self) -> None:
        """See that whoever made the request may still make it; reads the disk, and belongs in a thread.

        :raises ApiError: 403, the token was changed or revoked.
        """
        try:
            holder = self.service.generation.authenticator.holder_on_disk(self.user)
        except OSError as error:
            raise ApiError(403, FORBIDDEN) from error
        if holder != self.holder:
            raise ApiError(403, FORBIDDEN)

    def may(self, method: str, path: str) -> bool:
        """Whether whoever made the request may make this one."""
        route = (self.service.generation.routes.find(path) or {}).get(method)
        changes = route.changes if isinstance(route, Route) else method != "GET"
        return self.holder.user.may(method, path if route is None else route.path, changes)

    @property
    def answered(self) -> Mapping[tuple[str, int], int]:
        """How many requests the service answered since its start, by method and status."""
        return self.service.answered

    def issue_ticket(self, path: str, seconds: float) -> str:
        """A ticket for one download."""
        path = path.removesuffix("/")
        route = (self.service.generation.routes.find(path) or {}).get("GET")
        if not isinstance(route, Route):
            raise ApiError(404, f"There is no {path} to download")
        if not route.is_download:
            raise ApiError(400, f"{path} is no download")
        if not self.holder.user.may("GET", route.path, route.changes):
            raise ApiError(403, "This token may not do that")
        if self.dry_run:
            return ""
        try:
            return self.service.tickets.issue(self.holder, path, seconds)
        except TooManyTicketsError as error:
            headers = {"Retry-After": str(int(seconds))}
            raise ApiError(429, "Too many tickets wait for their use", headers=headers) from error

    async def metrics(self) -> list[Metric]:
        """Figures for a monitoring system."""
        return await self.service.figures.collect(self.service)

    async def start_job(self, job_type: str, /, **values: Any) -> Response:
        """Start a job and answer 202."""
        job = self.service.jobs.job_type(job_type)
        headers = {}
        body: dict[str, Any] = {"Status": status_line(202)}
        if self.dry_run:
            body = {**await self._preview(job, values), **body}
        else:
            try:
                record = await self.service.jobs.start(job_type, values, self.client, self.user, self.permit)
            except BusyError as busy:
                raise refusal(job, busy.job_type) from busy
            except OSError as error:
                raise ApiError(400, f"The {job_type} job cannot be started: {error.strerror or error}") from error
            self.job_id = headers["Job-Id"] = record.id
        location = f"/{job_type}" if job.location is None else job.location
        if location:
            body["Location"] = headers["Location"] = PREFIX + location
        return JsonResponse(body, 202, headers)

    async def run_job(self, job_type: str, /, *, join: bool = False, **values: Any) -> JobOutcome:
        """Start a job and wait for its end."""
        job = self.service.jobs.job_type(job_type)
        try:
            if self.dry_run:
                return await self.service.jobs.check(job_type, values)
            outcome = await self.service.jobs.run(job_type, values, self.client, self.user, self.permit, join)
        except BusyError as busy:
            raise refusal(job, busy.job_type) from busy
        except OSError as error:
            raise ApiError(400, f"The {job_type} job cannot be started: {error.strerror or error}") from error
        self.job_id = outcome.id
        return outcome

    async def resumes(self, path: Path, filename: str) -> bool:
        """Whether the client asks for the rest of this very file."""
        try:
            status = await asyncio.to_thread(path.lstat)
        except OSError:
            return False
        return self.resuming(filename, generated=True).wanted(status)

    def resuming(self, filename: str, *, generated: bool) -> Resuming:
        """What is known of this client and a file."""
        where = self.client if generated else ANYWHERE
        return Resuming(self.service.sent, (where, self.user, filename), self.headers, generated)

    async def cancel_job(self, job_type: str) -> bool:
        """End the running job of this type."""
        if self.dry_run:
            return await self.service.jobs.is_running(job_type)
        return await self.service.jobs.cancel(job_type)

    async def cancel_run(self, id: str) -> None:
        """End one run of a job."""
        jobs = self.service.jobs
        try:
            await (jobs.check_cancellable(id) if self.dry_run else jobs.cancel_run(id))
        except KeyError as error:
            raise ApiError(404, NO_SUCH_JOB) from error
        except NotCancellableError as error:
            raise ApiError(400, str(error)) from error

    async def job_running(self, job_type: str) -> bool:
        """Whether a job of this type is running now."""
        return await self.service.jobs.is_running(job_type)

    async def job_status(self, job_type: str) -> dict[str, Any]:
        """How the last run of this type went, or goes."""
        return await self.service.jobs.status(job_type)

    async def job_records(self) -> list[JobRecord]:
        """The runs of jobs, the newest first."""
        jobs = self.service.jobs
        unchanged = jobs.seen.unchanged(jobs.launcher)
        return await asyncio.to_thread(jobs.seen.newest, jobs.launcher) if unchanged is None else unchanged

    async def job_record(self, id: str) -> JobRecord | None:
        """One run of a job."""
        return await asyncio.to_thread(listing.one, self.service.jobs.launcher, id)

    async def job_log(self, id: str, lines: int) -> str | None:
        """The last lines that a run wrote."""
        return await asyncio.to_thread(listing.last_lines, self.service.jobs.launcher.records, id, lines)

    async def job_log_file(self, id: str) -> Path | None:
        """The file of all that a run wrote."""
        return await asyncio.to_thread(listing.log_file, self.service.jobs.launcher.records, id)

    async def _preview(self, job: JobType, values: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            outcome = await self.service.jobs.check(job.name, values)
        except BusyError as busy:
            raise refusal(job, busy.job_type) from busy
        except OSError as error:
            raise ApiError(400, f"The {job.name} job cannot be checked: {error.strerror or error}") from error
        if outcome.status == "failed":
            raise ApiError(400, outcome.error_message, outcome.error_code)
        return outcome.preview


def refusal(job: JobType, running: str) -> RetryLaterError:
    """The error for a job that cannot start while `running` runs."""
    name = job.name.replace("-", " ").capitalize()
    code = job.busy_code or BUSY
    if running == job.name:
        return RetryLaterError(400, f"{name} is already running", code)
    return RetryLaterError(400, f"{name} cannot start while {running.replace('-', ' ')} is running", code)


def own(request: Request) -> ApiRequest:
    """The request as the host's own endpoints may use it."""
    assert isinstance(request, ApiRequest)
    return request

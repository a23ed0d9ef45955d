"""Endpoints: how a plugin declares them, and what a request handler receives and may return."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.credentials import Caller
from jidoteki.hookspecs.descriptions import Described
from jidoteki.hookspecs.jobs import JobOutcome, JobRecord
from jidoteki.hookspecs.live import Service
from jidoteki.hookspecs.metrics import Metric
from jidoteki.hookspecs.responses import Response
from jidoteki.hookspecs.trials import Trial

PREFIX: Final = "/api/v1/admin"
"""The prefix of every endpoint's path."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file parameter that is streamed to disk; its value is an UploadedFile.

    :param max_size: bytes; by default the configuration's `limits.upload`.
    """

    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A small file (or text) parameter kept in memory; its bytes pass through `validator`.

    :param validator: takes the bytes and returns the value, or raises voluptuous.Invalid.
    :param max_size: bytes.
    """

    validator: Callable[[bytes], Any]
    max_size: int = 1024 * 1024


class UploadedFile(Protocol):
    """A file uploaded with the request. It is removed after the request unless `keep` was called."""

    @property
    def path(self) -> Path:
        """Its current path."""

    @property
    def size(self) -> int:
        """Its size in bytes."""

    async def keep(self, name: str) -> Path:
        """Move it to `ADMIN/spool/NAME`, replacing a file of that name, and return its new path.

        It is not synced to disk: after a power cut it may be incomplete, as after any interrupted upload.
        """


class Request(Protocol):
    """An authenticated request whose parameters passed the endpoint's validators."""

    @property
    def appliance(self) -> Appliance:
        """The appliance that the request administers."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The validated parameters."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers; their names are case-insensitive."""

    @property
    def credential(self) -> str:
        """The name of the credential, for data that belong to its holder.

        It changes when the token is changed, or revoked and created again, and reveals nothing of the token.
        """

    @property
    def body_digest(self) -> bytes | None:
        """The signed SHA-256 of the body; None if the request is not signed."""

    def body(self) -> AsyncIterator[bytes]:
        """Return the body of a request to an endpoint that declares one, in chunks and within the limits of all bodies.

        The handler is cancelled if the credential is revoked meanwhile.

        :raises ApiError: 400, 408 or 415: it is damaged, ends early, is too slow or has another media type; or, after
            the last chunk, its digest is not the signed one, so that all of it must be discarded.
        """

    @property
    def config(self) -> Mapping[str, Any]:
        """The plugin's section of the configuration, validated and with its defaults."""

    @property
    def host_config(self) -> Mapping[str, Any]:
        """The whole configuration of the host, validated and with its defaults."""

    @property
    def endpoints(self) -> Sequence[tuple[str, str]]:
        """Method and path of every active endpoint, mandatory ones included; a part of a path may be `{name}`."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be changed (`?dry-run=1`). `start_job` and `run_job` handle it themselves."""

    @property
    def caller(self) -> Caller:
        """The authenticated user."""

    @property
    def answered(self) -> Mapping[tuple[str, int], int]:
        """The number of responses since the service started, by method (or `other`) and status."""

    @property
    def service(self) -> Service:
        """The running service."""

    def may(self, method: str, path: str) -> bool:
        """Return whether the request's token has a scope for another request.

        :param path: without the prefix; it need not be served.
        """

    def issue_ticket(self, path: str, seconds: float, filename: str = "") -> str:
        """Return a ticket: `PATH?ticket=TICKET` can be downloaded with it once, without another credential.

        Its bearer has the rights of this request's credential, and only those that the credential still has then. A
        ticket is void once the credential is changed, revoked or narrowed, and after a restart of the service. A dry
        run creates none.

        :param path: of a GET endpoint whose 200 response is described as something other than JSON; without the prefix.
        :param seconds: its lifetime.
        :param filename: what the file is called in place of its usual name, of letters, digits and `.`, `_`, `-`.
        :raises ApiError: 400, that is not a download; 403, not for this credential; 404, there is none; 429, too many
            are unused.
        """

    async def check_download(self, path: str) -> None:
        """Raise what a GET request of a download would be answered, before a ticket for it is issued.

        Nothing is done for a download whose endpoint describes no 404 response, such as one that is packed at each
        request.

        :param path: as for `issue_ticket`.
        :raises ApiError: as `issue_ticket`, and what the handler of the download raises.
        """

    async def metrics(self) -> list[Metric]:
        """Return the metrics of the service, of the appliance and of `jidoteki_metrics`."""

    async def start_job(self, job_type: str, /, **values: Any) -> Response:
        """Start a job and return 202 with `Location` and `Job-Id`.

        :param job_type: the job type's name.
        :param values: JSON values for `job.input`; bytes arrive there as the path of a file.
        :raises ApiError: 400, a job of this type or of one that excludes it is running.
        """

    async def run_job(self, job_type: str, /, *, join: bool = False, **values: Any) -> JobOutcome:
        """Run a job and return its outcome.

        :param job_type: the job type's name.
        :param join: whether to wait for a running job of this type in place of raising.
        :raises ApiError: 400, it cannot start.
        """

    async def trial(self, job_type: str) -> Trial | None:
        """Return the change of a job of this type that is on trial, to be put back unless it is confirmed; or None."""

    async def confirm_job(self, job_type: str) -> None:
        """Confirm the change of the running job of this type, which makes it final.

        :raises ApiError: 400, none waits for a confirmation (with E1004: not yet).
        """

    async def resumes(self, path: Path, filename: str) -> bool:
        """Return whether the client resumes a download of this very file; then no new one must be created.

        :param filename: that of the `FileDownload`, whose `generated` is true.
        """

    async def cancel_job(self, job_type: str) -> bool:
        """Cancel the running job of this type, within a second after its grace period.

        :return: False if none is running, or it cannot be cancelled any more (see `Job.commit`).
        """

    async def cancel_run(self, id: str) -> None:
        """Cancel the run with this id, within a second after the grace period of its type, which must be `cancellable`.

        :raises ApiError: 404, there is no such run; 400, with the reason why it is not cancelled.
        """

    async def job_running(self, job_type: str) -> bool:
        """Return whether a job of this type is running: from its 202 until its record contains the outcome."""

    async def job_status(self, job_type: str) -> dict[str, Any]:
        """Return `{"status", "percentage", "log", "error-message"?, "error-code"?}` of the last run of this type.

        If another tool wrote to the status files since, the content is that tool's, with further keys and states.
        """

    async def job_records(self) -> list[JobRecord]:
        """Return the last hundred runs of all job types, and the last one of each type; newest first."""

    async def job_record(self, id: str) -> JobRecord | None:
        """Return the run with this id; None when it is unknown or no longer kept."""

    async def job_log(self, id: str, lines: int) -> str | None:
        """Return the last lines of this run's log, including its programs' output; None if there are none.

        :param lines: how many, of at most 64 KiB together.
        """

    async def job_log_file(self, id: str) -> Path | None:
        """Return the path of this run's whole log, for a `TextFile`; None if there is no such run, or it has no log.

        The file grows while the job is running.
        """


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    One part of `path` after the first may be a placeholder, as in `/jobs/{id}` and `/jobs/{id}/log`: the part of a
    request in its place, letters, digits and `.`, `_`, `-`, is the parameter of that name.
    `parameters` maps form fields (query fields for GET) to voluptuous validators; files to Upload or Document.
    `responses` maps each status to its description; `examples` are requests: title -> parameter -> value.
    `starts` names the job that the handler starts: while it cannot start, a request is refused before its body is read.
    `may_start` names a job that the handler starts for some requests and not for others, which are not refused then.
    `changes` tells whether the request changes the appliance and is audited: by default all but GET and OPTIONS are.
    `body` is the media type of a body other than a form, which the handler reads itself, with `request.body()`.
    `audited_as` returns, from the validated parameters, action and target of a further audit line for a success, in the
    words of the original API, whose log other tools read.
    `persist` tells whether a success without a job changes what must survive a reboot: the configured `persist` command
    runs after it, and it is refused once the system goes down.
    `confirm` makes the endpoint accept `?confirm=N`, 10 to 3600 seconds: the change of the job that `starts` names,
    which needs a `JobType.revert`, is put back unless another endpoint calls `Request.confirm_job` in time. Its value
    is the default for clients that do not ask; 0 for none.
    `enabled_by` is the name in `endpoints` of the configuration that enables it: by default the first part of its path.
    """

    method: str
    path: str
    handler: Handler
    _: KW_ONLY
    parameters: Mapping[Any, Any] = field(default_factory=dict)
    responses: Mapping[int, str | Described] = field(default_factory=dict)
    summary: str = ""
    starts: str | None = None
    may_start: str | None = None
    changes: bool | None = None
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body: str | None = None
    audited_as: Callable[[Mapping[str, Any]], tuple[str, str]] | None = None
    persist: bool = False
    confirm: int | None = None
    enabled_by: str | None = None


@dataclass(frozen=True, slots=True)
class FileSource:
    """A source of files that are named in a form as `SCHEME:NAME`, in place of an `Upload`.

    `find` returns the path of a named file, a regular one on the file system of `appliance.spool` that nobody else can
    write, or raises ApiError with status 400. The request's handler gets a hard link to it, as if it had been sent.
    `used` is called with the name after a request that changed something with it has succeeded.

    :param scheme: lower-case letters, digits and `-`, at most 16.
    """

    scheme: str
    find: Callable[[Request, str], Awaitable[Path]]
    used: Callable[[Request, str], Awaitable[None]]

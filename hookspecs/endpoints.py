"""Endpoints: what a plugin declares, what its request handler is handed and what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol

from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.credentials import Caller
from jidoteki.hookspecs.descriptions import Described
from jidoteki.hookspecs.jobs import JobOutcome, JobRecord
from jidoteki.hookspecs.metrics import Metric

PREFIX: Final = "/api/v1/admin"
"""Before the path of every endpoint."""


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
    """A file that came with the request. It is removed after the request unless `keep` was called."""

    @property
    def path(self) -> Path:
        """Where it lies now."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    async def keep(self, name: str) -> Path:
        """Move it to `ADMIN/spool/NAME`, replacing a file of that name, and return its new path.

        Nothing waits for the disk: after a power cut it may be incomplete, as after any upload that was interrupted.
        """


class ApiError(Exception):
    """Ends a request with an error.

    :param status: the HTTP status, 400 to 599.
    :param message: one sentence that names the parameter and what is allowed.
    :param code: an error code for scripts, the body's `error-code`.
    :param headers: more headers of the answer, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or str(status))
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class JsonResponse:
    """A JSON answer with a status or headers of its own. A handler that returns plain data answers 200."""

    data: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncodedJson:
    """JSON that is encoded already, answered with 200."""

    content: bytes


@dataclass(frozen=True, slots=True)
class TextResponse:
    """A text made on the spot, in UTF-8."""

    content: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file served as `text/plain`; 404 when it is missing."""

    path: Path


@dataclass(frozen=True, slots=True)
class FileDownload:
    """A file served as an attachment, with Range and conditional requests; 404 when it is missing."""

    path: Path
    filename: str
    file: IO[bytes] | None = None
    """The file itself where the handler opened it, to see that it is one to serve; the host closes it."""
    anew: bool = False
    """Whether it was made for this request: who asks for a part gets all of it, unless it is of this very file."""


Response = JsonResponse | EncodedJson | TextResponse | TextFile | FileDownload | dict[str, Any] | list[Any]
"""What a handler returns; a `dict` or `list` is answered as JSON with 200."""


class Request(Protocol):
    """An authenticated request whose parameters passed the endpoint's validators."""

    @property
    def appliance(self) -> Appliance:
        """The appliance this request administers."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The validated parameters."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, with names in any case."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The plugin's section of the configuration, validated and with its defaults."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The whole configuration of the host, validated and with its defaults."""

    @property
    def endpoints(self) -> Sequence[tuple[str, str]]:
        """Method and path of each endpoint that is served, mandatory ones too; a part of a path may be `{name}`."""

    @property
    def dry_run(self) -> bool:
        """True when nothing may be changed (`?dry-run=1`). `start_job` and `run_job` see to it themselves."""

    @property
    def caller(self) -> Caller:
        """Who makes the request."""

    @property
    def answered(self) -> Mapping[tuple[str, int], int]:
        """How many requests the service answered since its start, by method (or `other`) and status."""

    async def metrics(self) -> list[Metric]:
        """Figures for a monitoring system: what the service counts and knows, and what `jidoteki_metrics` adds."""

    async def start_job(self, kind: str, **values: Any) -> Response:
        """Start a job and answer 202 with `Location` and `Job-Id`.

        :param values: JSON values, handed to the job as `job.input`; bytes are handed to it as the path of a file.
        :raises ApiError: 400, one is running already, or one that excludes it.
        """

    async def run_job(self, kind: str, *, join: bool = False, **values: Any) -> JobOutcome:
        """Start a job, wait for its end and say how it went.

        :param join: when one is running already, wait for that one.
        :raises ApiError: 400, it cannot start.
        """

    async def resumes(self, path: Path, filename: str) -> bool:
        """Whether the client began to download this very file before and asks for the rest: then make no new one.

        :param filename: that of the `FileDownload`, whose `anew` is true.
        """

    async def cancel_job(self, kind: str) -> bool:
        """End the running job of this kind, within a second after the grace of its type.

        :return: False when none runs, or it cannot be cancelled any more (see `Job.commit`).
        """

    async def cancel_run(self, id: str) -> None:
        """End the run with this id, within a second after the grace of its type, if that is `JobType.cancellable`.

        :raises ApiError: 404, there is no such run; 400, with the reason why it is not cancelled.
        """

    async def job_running(self, kind: str) -> bool:
        """Whether a job of this kind is running now."""

    async def job_status(self, kind: str) -> dict[str, Any]:
        """`{"status", "percentage", "log", "error-message"?, "error-code"?}` of the last run of this kind.

        When another tool wrote to the status files afterwards, what that says, with further keys and states.
        """

    async def job_records(self) -> list[JobRecord]:
        """The last hundred runs of jobs of all kinds, and the last one of each kind; newest first."""

    async def job_record(self, id: str) -> JobRecord | None:
        """The run with this id; None when there is none, or none any more."""

    async def job_log(self, id: str, lines: int) -> str | None:
        """The last lines that this run wrote, what its programs printed included; None when there are none.

        :param lines: how many, of at most 64 KiB together.
        """

    async def job_log_file(self, id: str) -> Path | None:
        """The file of all that this run wrote, for a `TextFile`; None when there is no such run, or it has no log.

        It grows while the run goes on.
        """


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    One part of `path` behind the first may stand for any name, as in `/jobs/{id}` and `/jobs/{id}/log`: what stands
    there in a request, letters, digits and `.`, `_`, `-`, is the parameter of that name.
    `parameters` maps form fields (query fields for GET) to voluptuous validators; files to Upload or Document.
    `responses` says what is answered, `examples` what may be sent: title -> parameter -> value.
    `starts` names the job that the handler starts: while it cannot start, a request is refused before its body is read.
    `changes` says whether the request changes the appliance and belongs in the audit log: by default all but GET do.
    `audited_as` gives, from the validated parameters, the action and the target of one more line of the audit log for a
    success, in the words of the original API, whose log other tools read.
    `enabled_by` is the name in `endpoints` of the configuration that puts it into service: by default the first part of
    its path.
    """

    method: str
    path: str
    handler: Handler
    _: KW_ONLY
    parameters: Mapping[Any, Any] = field(default_factory=dict)
    responses: Mapping[int, str | Described] = field(default_factory=dict)
    summary: str = ""
    starts: str | None = None
    changes: bool | None = None
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    audited_as: Callable[[Mapping[str, Any]], tuple[str, str]] | None = None
    enabled_by: str | None = None

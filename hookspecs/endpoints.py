"""Endpoints: how a plugin declares them, and what a request handler receives and may return."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol

from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.credentials import Caller
from jidoteki.hookspecs.descriptions import Described
from jidoteki.hookspecs.jobs import JobOutcome, JobRecord
from jidoteki.hookspecs.live import Service
from jidoteki.hookspecs.metrics import Metric

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


class ApiError(Exception):
    """An error that ends the request.

    :param status: the HTTP status, 400 to 599.
    :param message: one sentence that names the parameter and what is allowed.
    :param code: an error code for scripts, the body's `error-code`.
    :param headers: further response headers, such as `Retry-After`.
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
    """A JSON response with a status or headers of its own. A handler that returns plain data answers 200."""

    data: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncodedJson:
    """A 200 response whose JSON is already encoded."""

    content: bytes


@dataclass(frozen=True, slots=True)
class TextResponse:
    """A response with a text, sent as UTF-8."""

    content: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A response with a file, served as `text/plain`; 404 when it is missing."""

    path: Path


@dataclass(frozen=True, slots=True)
class FileDownload:
    """A response with a file as an attachment, with Range and conditional requests; 404 when it is missing."""

    path: Path
    filename: str
    file: IO[bytes] | None = None
    """The open file, where the handler opened it to check it; the host closes it."""
    generated: bool = False
    """Whether it was made for this request: a Range request then gets all of it, unless it names this very file."""


@dataclass(frozen=True, slots=True)
class StreamingResponse:
    """A text that goes on for as long as the client takes it, such as Server-Sent Events.

    A piece is asked for only once the client has taken what came before. The stream ends with the last piece, when the
    client is gone or takes nothing for a minute, when its token is changed or revoked, and when the service ends. Then
    the iterator's `aclose` is called, if it has one; for a HEAD request without asking for a piece.
    """

    chunks: AsyncIterator[bytes]
    content_type: str = "text/plain; charset=utf-8"
    farewell: bytes = b""
    """What is sent at last when the service ends."""


@dataclass(frozen=True, slots=True)
class NoContent:
    """A response without a body: status 204."""

    headers: Mapping[str, str] = field(default_factory=dict)


Response = (
    JsonResponse
    | EncodedJson
    | TextResponse
    | TextFile
    | FileDownload
    | StreamingResponse
    | NoContent
    | dict[str, Any]
    | list[Any]
)
"""The return type of a handler; a `dict` or `list` is answered as JSON with 200."""


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
        """A name for the credential that was shown, to keep what belongs to whoever holds it.

        It is another one once the token was changed, or revoked and made anew, and tells nothing of the token.
        """

    @property
    def body_digest(self) -> bytes | None:
        """The SHA-256 that whoever signed the request signed for its body; None for a request that is not signed."""

    def body(self) -> AsyncIterator[bytes]:
        """The body of a request of an endpoint that declares one, as it comes, within the limits of all bodies.

        The handler is ended when the credential is revoked meanwhile.

        :raises ApiError: 400, 408 or 415: it is damaged, ends early, comes too slowly or is of another media type; or,
            after the last piece, it is not what was signed, so that nothing of it may count.
        """

    @property
    def config(self) -> Mapping[str, Any]:
        """The plugin's section of the configuration, validated and with its defaults."""

    @property
    def host_config(self) -> Mapping[str, Any]:
        """The host's own keys of the configuration, validated and with their defaults."""

    @property
    def endpoints(self) -> Sequence[tuple[str, str]]:
        """Method and path of every active endpoint, mandatory ones included; a part of a path may be `{name}`."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be changed (`?dry-run=1`). `start_job` and `run_job` handle it themselves."""

    @property
    def caller(self) -> Caller:
        """Who makes the request."""

    @property
    def answered(self) -> Mapping[tuple[str, int], int]:
        """The number of requests answered since the service started, by method (or `other`) and status."""

    @property
    def service(self) -> Service:
        """The running service."""

    def may(self, method: str, path: str) -> bool:
        """Whether the token of whoever made the request has a scope for this one.

        :param path: without the prefix; whether anything is served there or not.
        """

    def issue_ticket(self, path: str, seconds: float) -> str:
        """Return a ticket: `PATH?ticket=TICKET` can be downloaded with it once, without another credential.

        Whoever has it acts as whoever made this request, and may no more than they still may then. It is void once the
        credential is changed, revoked or narrowed, and when the service starts again. A dry run makes none.

        :param path: of a GET endpoint whose answer of 200 is described as something else than JSON; without the prefix.
        :param seconds: how long it may wait for its use.
        :raises ApiError: 400, that is no download; 403, not for this credential; 404, there is none; 429, too many
            wait.
        """

    async def metrics(self) -> list[Metric]:
        """Figures for a monitoring system: what the service counts and knows, and what `jidoteki_metrics` adds."""

    async def start_job(self, job_type: str, /, **values: Any) -> Response:
        """Start a job and answer 202 with `Location` and `Job-Id`.

        :param job_type: the job type's name.
        :param values: JSON values for `job.input`; bytes arrive there as the path of a file.
        :raises ApiError: 400, a job of this type or of one that excludes it is running.
        """

    async def run_job(self, job_type: str, /, *, join: bool = False, **values: Any) -> JobOutcome:
        """Run a job and return its outcome.

        :param job_type: the job type's name.
        :param join: when one is running already, wait for that one.
        :raises ApiError: 400, it cannot start.
        """

    async def resumes(self, path: Path, filename: str) -> bool:
        """Return whether the client resumes a download of this very file; then no new one is to be made.

        :param filename: that of the `FileDownload`, whose `generated` is true.
        """

    async def cancel_job(self, job_type: str) -> bool:
        """Cancel the running job of this type, within a second after its grace.

        :return: False when none runs, or it cannot be cancelled any more (see `Job.commit`).
        """

    async def cancel_run(self, id: str) -> None:
        """Cancel the run with this id, within a second after the grace of its type, if that is `JobType.cancellable`.

        :raises ApiError: 404, there is no such run; 400, with the reason why it is not cancelled.
        """

    async def job_running(self, job_type: str) -> bool:
        """Return whether a job of this type is running: from its 202 on, until its record says how it ended."""

    async def job_status(self, job_type: str) -> dict[str, Any]:
        """Return `{"status", "percentage", "log", "error-message"?, "error-code"?}` of the last run of this type.

        If another tool wrote to the status files since, the content is that tool's, with further keys and states.
        """

    async def job_records(self) -> list[JobRecord]:
        """Return the last hundred runs of all job types, and the last one of each type; newest first."""

    async def job_record(self, id: str) -> JobRecord | None:
        """Return the run with this id; None when it is unknown or no longer kept."""

    async def job_log(self, id: str, lines: int) -> str | None:
        """Return the last lines that this run logged, its programs' output included; None when there are none.

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

    One part of `path` after the first may be a placeholder, as in `/jobs/{id}` and `/jobs/{id}/log`: what a request has
    in its place, letters, digits and `.`, `_`, `-`, is the parameter of that name.
    `parameters` maps form fields (query fields for GET) to voluptuous validators; files to Upload or Document.
    `responses` maps each status to its description; `examples` are requests: title -> parameter -> value.
    `starts` names the job that the handler starts: while it cannot start, a request is refused before its body is read.
    `changes` tells whether the request changes the appliance and is audited: by default all but GET and OPTIONS are.
    `body` is the media type of a body that is no form, which the handler reads itself, with `request.body()`.
    `audited_as` returns, from the validated parameters, the action and the target of a further audit line for a
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
    body: str | None = None
    audited_as: Callable[[Mapping[str, Any]], tuple[str, str]] | None = None
    enabled_by: str | None = None


@dataclass(frozen=True, slots=True)
class FileSource:
    """Where files may come from that are not in the form: `SCHEME:NAME`, as text, in the place of an `Upload`.

    `find` returns the file of a name, a regular one on the file system of `appliance.spool` that nobody else may write
    to, or raises ApiError with status 400. The handler of the request gets a link to it, as if it had been sent.
    `used` is told of a name after a request that changed something with it was answered without an error.

    :param scheme: of small letters, digits and `-`, at most 16.
    """

    scheme: str
    find: Callable[[Request, str], Awaitable[Path]]
    used: Callable[[Request, str], Awaitable[None]]

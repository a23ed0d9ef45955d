"""What request handlers return, and the error that they raise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any


class ApiError(Exception):
    """An error that ends the request.

    :param status: the HTTP status, 400 to 599.
    :param message: one sentence that names the parameter and what is allowed.
    :param code: an error code for scripts, the body's `error-code`.
    :param headers: further response headers, such as `Retry-After`.
    :param field: JSON pointer (RFC 6901) of the parameter at fault, or of the value inside it, such as
        `/settings/network/ip_address`: the body's `error-field`, by which a page marks the field. `validators.pointer`
        makes one.
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message or str(status))
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})
        self.field = field


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
    """The open file, if the handler has checked it; the host closes it."""
    generated: bool = False
    """Whether it was created for this request: a Range request then gets all of it, unless it names this very file."""


@dataclass(frozen=True, slots=True)
class StreamingResponse:
    """A response with a text of any length, such as Server-Sent Events.

    The host requests the next chunk once the client has received the previous ones. The stream ends after the last
    chunk, when the client disconnects or receives nothing for a minute, when its token is changed or revoked, and when
    the service stops. Then the iterator's `aclose` is called, if it has one; for a HEAD request without requesting a
    chunk.
    """

    chunks: AsyncIterator[bytes]
    content_type: str = "text/plain; charset=utf-8"
    farewell: bytes = b""
    """The last chunk if the service stops."""


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

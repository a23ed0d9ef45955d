"""What goes out: JSON, text and attachments, all with the security headers, errors in one shape."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from jidoteki.core.http.answers import Whole
from jidoteki.core.http.connection import Connection
from jidoteki.core.http.resuming import Resuming, byte_range, is_satisfiable, names
from jidoteki.core.http.streaming import Streamed
from jidoteki.hookspecs import (
    ApiError,
    EncodedJson,
    FileDownload,
    JsonResponse,
    NoContent,
    Response,
    StreamingResponse,
    TextFile,
    TextResponse,
    paths,
)

CHUNK = 256 * 1024
PIECE = 4 * 1024
JSON = "application/json"
#: The messages of errors that were raised without one.
MESSAGES = {404: "There is nothing to show", 500: "An internal error: the service's log has the details"}
#: Where open files have names.
DESCRIPTORS = "/proc/self/fd"

SECURITY_HEADERS = {
    "Server": "jidoteki-admin-api",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_JSON_HEADERS = CIMultiDict({**SECURITY_HEADERS, "Content-Type": JSON})
_JSON_FIELDS = "".join(f"{name}: {value}\r\n" for name, value in _JSON_HEADERS.items())
#: A header of these names takes the place of what is sent anyway.
_SET_ANYWAY = {*map(str.lower, _JSON_HEADERS), "content-length", "transfer-encoding", "date", "connection"}


def status_line(status: int) -> str:
    """`404 Not Found` for 404, as the bodies show it."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def encode(data: Any) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    """An answer whose body is JSON already encoded."""
    if headers and not _SET_ANYWAY.isdisjoint(map(str.lower, headers)):
        merged = _JSON_HEADERS.copy()
        merged.update(headers)
        return web.Response(body=body, status=status, headers=merged)
    return Whole(body, status, _JSON_FIELDS, headers)


def error_response(error: ApiError, first_run: bool | None = None) -> web.StreamResponse:
    """An answer that tells of an error.

    :param first_run: whether the first-run passphrase is pending; None where first runs are not enabled.
    """
    body, more = _told(error, first_run)
    return json_response(body, error.status, {**error.headers, **more})


def _told(error: ApiError, first_run: bool | None = None) -> tuple[bytes, dict[str, str]]:
    """The body that tells of an error, and its headers."""
    status = status_line(error.status)
    message = error.message or MESSAGES.get(error.status) or f"{status}: no reason is given"
    body: dict[str, Any] = {"Status": status, "Error-Message": message}
    more = {"Error-Message": header_text(message)}
    if error.code:
        body["error-code"] = error.code
    if first_run is not None:
        body["First-Run"] = first_run
    return encode(body), more


def error_bytes(error: ApiError) -> bytes:
    """The whole answer to something that is no request, after which the connection ends."""
    body, more = _told(error)
    return _last(error.status, {**_JSON_HEADERS, **more, "Date": formatdate(usegmt=True)}, body)


def text_error_bytes(status: int, message: str) -> bytes:
    """The whole answer to somebody who may read it as a browser shows it, after which the connection ends."""
    more = {"Error-Message": header_text(message), "Content-Type": "text/plain; charset=utf-8"}
    return _last(status, {**SECURITY_HEADERS, **more}, f"{message}\n".encode("ascii"))


def _last(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole answer, after which the connection ends."""
    fields = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {status_line(status)}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def send_in_pieces(request: web.BaseRequest, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Answer anybody with something long, of which never more than a piece is kept for a client that does not read.

    :raises ConnectionError: the client has gone, or did not take it.
    """
    response = web.StreamResponse(headers={**SECURITY_HEADERS, **headers})
    response.content_length = len(body)
    if not request.content.at_eof():
        response.force_close()
    writer = await response.prepare(request)
    if request.method != "HEAD" and writer:
        content = memoryview(body)
        for start in range(0, len(content), PIECE):
            await writer.write(content[start : start + PIECE])
            await writer.drain()
    await response.write_eof()
    return response


def header_text(text: str) -> str:
    """The part of a text that may stand in a header: printable ASCII, at most 512 characters."""
    return "".join(c if 32 <= ord(c) < 127 else "?" for c in text[:512])


async def render(response: Response, dry_run: bool = False) -> web.StreamResponse:
    """Turn what a handler returned into an answer.

    :raises ApiError: 404, the file to serve is missing.
    :raises TypeError: it is none of the types that a handler may return.
    """
    if isinstance(response, EncodedJson):
        return json_response(response.content)
    if isinstance(response, JsonResponse):
        return json_response(_body(response.data, dry_run), response.status, response.headers)
    if isinstance(response, dict | list):
        return json_response(_body(response, dry_run))
    if isinstance(response, NoContent):
        return web.Response(status=204, headers={**SECURITY_HEADERS, **response.headers})
    if isinstance(response, TextResponse):
        headers = {**SECURITY_HEADERS, "Content-Type": response.content_type}
        return web.Response(body=response.content.encode("utf-8", "backslashreplace"), headers=headers)
    if isinstance(response, TextFile):
        return await _file(response.path, {"Content-Type": "text/plain; charset=utf-8"})
    if isinstance(response, FileDownload):
        name = "".join(c for c in response.filename if c.isascii() and (c.isalnum() or c in "._-"))
        disposition = f'attachment; filename="{name}"'
        return await _file(
            response.path,
            {"Content-Type": "application/octet-stream", "Content-Disposition": disposition},
            response.file,
        )
    if isinstance(response, StreamingResponse):
        return Streamed(response, SECURITY_HEADERS)
    raise TypeError(f"A handler returned {type(response).__name__}, which is not a response")


def _body(data: Any, dry_run: bool) -> bytes:
    return encode({**data, "dry-run": True} if dry_run and isinstance(data, dict) else data)


class Attachment(web.FileResponse):
    """A file: over HTTP copied by the kernel, over TLS in pieces as large.

    :param file: what is sent: named by its descriptor, so that nothing put beside it or in its place is.
    """

    def __init__(self, file: IO[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(f"{DESCRIPTORS}/{file.fileno()}", chunk_size=CHUNK, headers=headers)
        self._file = file
        #: Watches the request while it is being answered, and calls what it is given when that must end.
        self.watch: Callable[[Callable[[], None]], AbstractContextManager[None]] = lambda end: nullcontext()
        #: Knows whether the client may be sent a part of it; None for what grows, such as a log.
        self.resuming: Resuming | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, and close it."""
        transport = request.transport
        try:
            with self.watch(transport.abort if transport else lambda: None):
                return await super().prepare(request)
        finally:
            asyncio.get_running_loop().run_in_executor(None, self._file.close)

    async def _prepare_open_file(
        self, request: web.BaseRequest, fobj: Any, st: os.stat_result, file_encoding: str | None
    ) -> AbstractStreamWriter | None:
        resuming, found = self.resuming, byte_range(request.headers)
        if request.method != "GET" or not self._may_send_part(request, st):
            found = None
        if resuming is not None and request.method == "GET":
            await _note(resuming, st)
        if found is not None and not is_satisfiable(found, st.st_size):
            self.headers["Content-Range"] = f"bytes */{st.st_size}"
            return await self._refuse(request, ApiError(416, f"The file has only {st.st_size} bytes"))
        try:
            return await super()._prepare_open_file(_with_range(request, found), fobj, st, file_encoding)
        finally:
            if resuming is not None and request.method == "GET":
                await _note(resuming, st)

    def _may_send_part(self, request: web.BaseRequest, status: os.stat_result) -> bool:
        if self.resuming is not None:
            return self.resuming.allowed(status)
        if_range = request.headers.get("If-Range")
        return if_range is None or names(if_range, status)

    async def _precondition_failed(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return await self._refuse(request, ApiError(412, "The file is not as the condition of the request wants it"))

    async def _refuse(self, request: web.BaseRequest, error: ApiError) -> AbstractStreamWriter | None:
        """Answer that this cannot be sent, as any error is told."""
        body, more = _told(error)
        self.set_status(error.status)
        self.headers.popall("Content-Disposition", None)
        self.headers.update({"Content-Type": JSON, **more})
        self.content_length = len(body)
        writer = await web.StreamResponse.prepare(self, request)
        if writer is not None and request.method != "HEAD":
            await writer.write(body)
        return writer

    async def _sendfile(self, request: web.BaseRequest, fobj: IO[Any], offset: int, count: int) -> AbstractStreamWriter:
        connection = request.transport
        if not isinstance(connection, Connection):
            return await super()._sendfile(request, fobj, offset, count)
        writer = await web.StreamResponse.prepare(self, request)
        assert writer
        connection.set_bulk(True)
        if connection.get_extra_info("sslcontext") is None:
            writer.send_headers()
            sent = await connection.send_file(fobj, offset, count)
        else:
            sent = await self._write(writer, fobj, offset, count)
        if sent < count:  # it became shorter meanwhile, and the client waits for as much as was announced
            connection.abort()
        await web.StreamResponse.write_eof(self)
        return writer

    async def _write(self, writer: AbstractStreamWriter, fobj: IO[Any], offset: int, count: int) -> int:
        loop = asyncio.get_running_loop()
        fobj.seek(offset)
        left = count
        reading = loop.run_in_executor(None, fobj.read, min(CHUNK, left))
        while chunk := await reading:
            left -= len(chunk)
            reading = loop.run_in_executor(None, fobj.read, min(CHUNK, left))
            await writer.write(chunk)
        return count - left


async def _note(resuming: Resuming, status: os.stat_result) -> None:
    if resuming.note(status):
        await asyncio.to_thread(resuming.sent.keep, resuming.sent.document())


def _with_range(request: web.BaseRequest, found: tuple[int | None, int | None] | None) -> web.BaseRequest:
    """A request that asks aiohttp for this range alone: what else may decide was looked at here."""
    if "Range" not in request.headers and "If-Range" not in request.headers:
        return request
    headers = request.headers.copy()
    for name in ("Range", "If-Range"):
        headers.popall(name, None)
    if found is not None:
        headers["Range"] = "bytes=" + "-".join("" if each is None else str(each) for each in found)
    return request.clone(headers=headers)


async def _file(path: Path, headers: Mapping[str, str], file: IO[bytes] | None = None) -> web.FileResponse:
    if file is None:
        try:
            file = await asyncio.to_thread(_open, path)
        except OSError as error:
            raise ApiError(404, f"There is no {path.name}") from error
    if not os.path.exists(DESCRIPTORS):
        raise ApiError(503, "Files cannot be sent: /proc is not mounted")
    return Attachment(file, {**SECURITY_HEADERS, **headers})


def _open(path: Path) -> IO[bytes]:
    return open(paths.open_regular(path), "rb", buffering=0)

"""What a handler returned, turned into an answer: JSON, text, files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from jidoteki.core.http.connection import Connection
from jidoteki.core.http.responses import JSON, SECURITY_HEADERS, encode, json_response, told
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
#: Where open files have names.
DESCRIPTORS = "/proc/self/fd"


async def render(response: Response, dry_run: bool = False, filename: str = "") -> web.StreamResponse:
    """Convert the result of a handler to a response.

    :param filename: of a download, in place of the name that the handler gave it.
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
        name = "".join(c for c in filename or response.filename if c.isascii() and (c.isalnum() or c in "._-"))
        disposition = f'attachment; filename="{name}"'
        return await _file(
            response.path,
            {"Content-Type": "application/octet-stream", "Content-Disposition": disposition},
            response.file,
        )
    if isinstance(response, StreamingResponse):
        return Streamed(response, SECURITY_HEADERS)
    raise TypeError(f"A handler returned {type(response).__name__}, which is not a response")


async def discard(response: Response) -> None:
    """Release what a handler returned, which nobody is sent.

    :raises ApiError: 404, the file to serve is missing.
    """
    if isinstance(response, TextFile | FileDownload):
        file = response.file if isinstance(response, FileDownload) else None
        if file is None:
            file = await asyncio.to_thread(_opened, response.path)
        await asyncio.to_thread(file.close)
    elif isinstance(response, StreamingResponse) and (close := getattr(response.chunks, "aclose", None)):
        await close()


def _body(data: Any, dry_run: bool) -> bytes:
    return encode({**data, "dry-run": True} if dry_run and isinstance(data, dict) else data)


class Attachment(web.FileResponse):
    """A file, sent by sendfile(2) over HTTP and in large chunks over TLS.

    :param file: the open file, served by its descriptor, so that replacing its path has no effect.
    """

    def __init__(self, file: IO[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(f"{DESCRIPTORS}/{file.fileno()}", chunk_size=CHUNK, headers=headers)
        self._file = file
        #: Watches the request while it is being answered, and calls what it is given when that must end.
        self.watch: Callable[[Callable[[], None]], AbstractContextManager[None]] = lambda end: nullcontext()
        #: Knows whether the client may be sent a part of it; None for what grows, such as a log.
        self.resuming: Resuming | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the file and close it."""
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
        """Answer with an error in the usual format."""
        body, more = told(error)
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
    """Return a request with this range only, as the other conditions are already evaluated."""
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
        file = await asyncio.to_thread(_opened, path)
    if not os.path.exists(DESCRIPTORS):
        raise ApiError(503, "Files cannot be sent: /proc is not mounted")
    return Attachment(file, {**SECURITY_HEADERS, **headers})


def _opened(path: Path) -> IO[bytes]:
    """Return an open file.

    :raises ApiError: 404, it is missing.
    """
    try:
        return open(paths.open_regular(path), "rb", buffering=0)
    except OSError as error:
        raise ApiError(404, f"There is no {path.name}") from error

"""HTTP on one connection: aiohttp gets one complete, small header at a time, and a body once it is asked for.

Until then the input is kept as raw bytes: a parsed header takes several times its size, and no unauthenticated client
may cause a body to be read, decompressed or buffered.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage

from jidoteki.core.http import headers
from jidoteki.core.http.connection import Connection
from jidoteki.core.http.headers import END, MAX_HEADER, MAX_LINES
from jidoteki.core.http.input_budget import InputBudget
from jidoteki.core.http.responses import error_bytes, error_response
from jidoteki.core.logs.service import AccessLogger
from jidoteki.hookspecs import ApiError

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.streams import StreamReader

logger = logging.getLogger(__name__)

HEADER_TIMEOUT = 8.0
READ_BUFFER = 256 * 1024
#: Uncounted input of every connection: most headers are shorter, and counting costs a tenth of a request.
MAX_UNCOUNTED = 1024


class HttpProtocol(web.RequestHandler):
    """aiohttp's protocol, handed one request at a time.

    :param server: aiohttp's low-level server.
    :param budget: counts unauthenticated input.
    """

    __slots__ = (
        "_body", "_budget", "_busy", "_counted", "_header", "_known", "_last", "_remaining", "_rest", "_searched",
        "_waits", "network",
    )  # fmt: skip

    transport: Connection | None

    def __init__(self, server: web.Server, budget: InputBudget) -> None:
        super().__init__(
            server, loop=asyncio.get_running_loop(), keepalive_timeout=HEADER_TIMEOUT, lingering_time=0,
            max_line_size=MAX_HEADER, max_field_size=MAX_HEADER, max_headers=MAX_LINES, read_bufsize=READ_BUFFER,
            auto_decompress=False, access_log_class=AccessLogger, logger=logger,
        )  # fmt: skip
        self._budget = budget
        self.network = "-"
        #: The input that aiohttp's parser has not received, and the length of the last header, which the parser still
        #: holds.
        self._rest = b""
        self._header = 0
        self._searched = 0
        self._busy = self._known = False
        #: The body that is being read, how many bytes are still to come if its length is known, and its last bytes.
        self._body: StreamReader | None = None
        self._remaining: int | None = None
        self._last = b""
        self._waits = self._counted = False

    def data_received(self, data: bytes) -> None:
        if self._body is not None:
            self._hand_on_body(data)
        elif data and self.transport is not None:
            self._rest += data
            if self._busy:
                self.transport.pause_reading()
                self._count()
            else:
                self._hand_on_header()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's may return one, aiohttp's does not
        """Return whether the client, which has closed its side, has sent a complete request without an answer yet."""
        if not self._busy and self._rest:
            self._next()
        # What arrived of a body was handed on already: the rest will not arrive.
        return self._busy and self._body is None

    def _hand_on_header(self) -> None:
        """Hand the next header to aiohttp if it is complete."""
        rest = self._rest = self._rest.lstrip(b"\r\n")  # https://www.rfc-editor.org/rfc/rfc9112#section-2.2-6
        if not rest:
            return
        end = rest.find(END, max(0, self._searched - len(END)))
        self._searched = len(rest)
        header = rest[: end + len(END)] if end >= 0 else rest
        problem = headers.problem(header, end >= 0)
        if problem:
            self._refuse(problem)
        elif end >= 0:
            self._rest = rest[len(header) :]
            self._searched, self._header, self._known = 0, len(header), False
            self._set_busy(True)
            self._count()
            super().data_received(header)
            if self._rest and self.transport is not None:
                self.transport.pause_reading()
        else:
            self._count()

    def _refuse(self, error: ApiError) -> None:
        """Answer an invalid header."""
        assert self.transport is not None
        answer = error_bytes(error)
        AccessLogger.note(str((self.peername or "-")[0]), "-", "-", error.status, len(answer), 0)
        self.transport.write(answer)
        self.force_close()

    def _set_busy(self, busy: bool) -> None:
        self._busy = busy
        if self.transport is not None:
            self.transport.busy = busy
            self.transport.note_request()

    def _count(self) -> None:
        size = 0 if self._known or self.transport is None else len(self._rest) + self._header
        if size > MAX_UNCOUNTED or self._counted:
            self._counted = size > 0
            self._budget.hold(self, size)

    def has_small_header(self) -> bool:
        """Return whether the header of the current request is too short to be counted."""
        return self._header <= MAX_UNCOUNTED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Connection)
        self.network = transport.network
        super().connection_made(transport)

    def reset(self) -> None:
        """Reset the connection, whose input exceeds the budget."""
        if self.transport is not None:
            self.transport.reset()

    def authenticated(self) -> None:
        """Stop counting the input of an authenticated request."""
        self._known = True
        self._count()

    def receive_body(self, request: web.BaseRequest) -> None:
        """Start reading the body of the current request, in large steps."""
        if self.transport is None or request.content.is_eof():
            return
        self.transport.set_bulk(True)
        self._body = request.content
        self._remaining = request.content_length
        self._last = b""
        rest, self._rest = self._rest, b""
        if rest:
            self._hand_on_body(rest)
        else:
            self._close_if_cut_off()
        if not self._waits and not self._rest and self.transport is not None:
            self.transport.resume_reading()

    def _hand_on_body(self, data: bytes) -> None:
        """Hand the bytes of the body to aiohttp, and keep those after it.

        :param data: empty if aiohttp's parser is to continue with what it has buffered.
        """
        if not data:
            super().data_received(b"")
        data = self._rest + data if self._rest else data
        while data and not self._waits and self._body is not None and not self._body.is_eof():
            size = self._part(data)
            if not size:
                break
            waiting = len(self._messages)
            super().data_received(data if size == len(data) else data[:size])
            data = data[size:]
            if len(self._messages) > waiting and not self._body.is_eof():
                # The parser reports damage as a message of its own, and not to the reader of the body.
                self._body.set_exception(web.RequestPayloadError("The body is damaged"))
                data = b""
                break
        if self._body is not None and self._body.is_eof():
            self._body = None
        self._rest = data
        if data and self.transport is not None:
            self.transport.pause_reading()
        self._close_if_cut_off()

    def _close_if_cut_off(self) -> None:
        """Reset the connection of a client that has closed its side before the end of the body."""
        if self._body is not None and not self._waits and self.transport is not None and self.transport.ended:
            self.transport.abort()

    def _part(self, data: bytes) -> int:
        """Return how many bytes can be handed on without the risk of including any after the body.

        A chunked body ends with an empty line: nothing beyond the next empty line is handed on.
        """
        if self._remaining is not None:
            size = min(self._remaining, len(data))
            self._remaining -= size
            return size
        across = (self._last + data[: len(END) - 1]).find(END)
        size = across + len(END) - len(self._last) if across >= 0 else data.find(END) + len(END)
        if size < len(END) and across < 0:
            size = len(data)
        self._last = (self._last + data[max(0, size - len(END)) : size])[1 - len(END) :]
        return size

    def pause_reading(self) -> None:
        self._waits = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._waits = False
        super().resume_reading(resume_parser)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._body = None
            self._set_busy(False)
            if resp.keep_alive and self.transport is not None:
                self.transport.set_bulk(False)
                if self._rest or self.transport.ended or not self.transport.is_reading():
                    asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self.transport is None or self._busy or self.transport.is_closing():
            return
        if self._rest:
            self._hand_on_header()
        if not self._busy and self.transport is not None:
            if self.transport.ended:
                self.transport.close()
            self.transport.resume_reading()

    async def start(self) -> None:
        if self.transport is not None:  # else the client has reset the connection before this task began
            await super().start()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._rest = b""
        self._budget.hold(self, 0)
        super().connection_lost(exc)

    def log_exception(self, *arguments: Any, **options: Any) -> None:
        if isinstance(options.get("exc_info"), asyncio.InvalidStateError):
            return  # the service is stopping, and aiohttp no longer waits for this request
        super().log_exception(*arguments, **options)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        message = None
        if isinstance(exc, ConnectionError) or self.transport is None or self.transport.is_closing():
            logger.debug("%s hung up", self.peername)  # clients can cause this at will, so it is not logged as an error
        elif status >= 500:
            logger.error("%s %s failed", request.method, request.path, exc_info=exc)
        else:
            message = "The request is not valid HTTP"
        response = error_response(ApiError(status, message))
        response.force_close()
        return response


def make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Return aiohttp's request without a second copy of long headers, and always of version 1.0 or 1.1."""
    version = message.version if message.version == HttpVersion10 and message.method != "UNKNOWN" else HttpVersion11
    changed: Any = message
    small = isinstance(protocol, HttpProtocol) and protocol.has_small_header()
    if not small or version != message.version:
        changed = message._replace(raw_headers=(), version=version)
    if isinstance(protocol, HttpProtocol) and protocol.transport is not None and protocol.transport.is_outdated:
        changed = changed._replace(should_close=True)
    return web.BaseRequest(changed, payload, protocol, writer, task, asyncio.get_running_loop())


def authenticated(request: web.BaseRequest) -> None:
    """Stop counting the input of a request, which is authenticated."""
    protocol = request.protocol
    if isinstance(protocol, HttpProtocol):
        protocol.authenticated()


def receive_body(request: web.BaseRequest) -> None:
    """Start reading the body of a request, which must be authenticated."""
    protocol = request.protocol
    if isinstance(protocol, HttpProtocol):
        protocol.receive_body(request)

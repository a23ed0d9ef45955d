"""HTTP on one connection: aiohttp gets one header at a time, whole and small, and a body once it is asked for.

Until then what comes is kept as it is: a parsed header takes several times its size, and reading a body, as well as
unpacking and buffering it, is nothing that somebody unknown may ask for.
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
#: What every connection may keep uncounted: most headers are shorter, and counting costs a tenth of a request.
MAX_UNCOUNTED = 1024


class HttpProtocol(web.RequestHandler):
    """aiohttp's protocol, handed one request at a time.

    :param server: aiohttp's low-level server.
    :param budget: where what is kept is counted until somebody is authenticated for it.
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
        #: What has come and is not handed on, and the length of the last header that was: the parser still has it.
        self._rest = b""
        self._header = 0
        self._searched = 0
        self._busy = self._known = False
        #: The body that is being read, what of it is still to come where its length is known, and its last bytes.
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
        """The client sends no more; whether it has sent a whole request that is not answered yet."""
        if not self._busy and self._rest:
            self._next()
        # A body that is being read was handed on as far as it came: its rest does not come any more.
        return self._busy and self._body is None

    def _hand_on_header(self) -> None:
        """Hand on the next header if all of it is there."""
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
        """Answer what is not even handed on."""
        assert self.transport is not None
        answer = error_bytes(error)
        AccessLogger.note(str((self.peername or "-")[0]), "-", "-", error.status, len(answer), 0)
        self.transport.write(answer)
        self.force_close()

    def _set_busy(self, busy: bool) -> None:
        self._busy = busy
        if self.transport is not None:
            self.transport.busy = busy

    def _count(self) -> None:
        size = 0 if self._known or self.transport is None else len(self._rest) + self._header
        if size > MAX_UNCOUNTED or self._counted:
            self._counted = size > 0
            self._budget.hold(self, size)

    def has_small_header(self) -> bool:
        """Whether the header of the request that is being answered is shorter than what is counted."""
        return self._header <= MAX_UNCOUNTED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Connection)
        self.network = transport.network
        super().connection_made(transport)

    def reset(self) -> None:
        """End the connection: there is no room for what it keeps."""
        if self.transport is not None:
            self.transport.reset()

    def authenticated(self) -> None:
        """Somebody answers for the request: it is counted no more."""
        self._known = True
        self._count()

    def receive_body(self, request: web.BaseRequest) -> None:
        """Let the body of the request that is being answered come, in large steps."""
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
        """Hand on what belongs to the body, and keep what comes after it.

        :param data: nothing when aiohttp's parser shall go on with what it has put aside.
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
                # The parser tells of damage by a message of its own, and not whoever waits for the body.
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
        """End the connection of a client that sends no more, though not all of the body has come."""
        if self._body is not None and not self._waits and self.transport is not None and self.transport.ended:
            self.transport.abort()

    def _part(self, data: bytes) -> int:
        """How much of what has come may be handed on without the risk that something behind the body is, too.

        A chunked body ends with an empty line: nothing is handed on beyond the next one.
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

    def connection_lost(self, exc: BaseException | None) -> None:
        self._rest = b""
        self._budget.hold(self, 0)
        super().connection_lost(exc)

    def log_exception(self, *arguments: Any, **options: Any) -> None:
        if isinstance(options.get("exc_info"), asyncio.InvalidStateError):
            return  # the service ends while a request does: aiohttp waited for that request no more
        super().log_exception(*arguments, **options)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError) or self.transport is None or self.transport.is_closing():
            logger.debug("%s hung up", self.peername)  # whoever likes can do so again and again
            message = None
        elif status >= 500:
            logger.error("%s %s failed", request.method, request.path, exc_info=exc)
            message = None
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
    """aiohttp's request, without a second copy of long headers, and never of another version than 1.0 and 1.1."""
    version = message.version if message.version == HttpVersion10 and message.method != "UNKNOWN" else HttpVersion11
    changed: Any = message
    small = isinstance(protocol, HttpProtocol) and protocol.has_small_header()
    if not small or version != message.version:
        changed = message._replace(raw_headers=(), version=version)
    return web.BaseRequest(changed, payload, protocol, writer, task, asyncio.get_running_loop())


def authenticated(request: web.BaseRequest) -> None:
    """Say that somebody answers for a request."""
    protocol = request.protocol
    if isinstance(protocol, HttpProtocol):
        protocol.authenticated()


def receive_body(request: web.BaseRequest) -> None:
    """Let the body of a request come, which is authenticated."""
    protocol = request.protocol
    if isinstance(protocol, HttpProtocol):
        protocol.receive_body(request)

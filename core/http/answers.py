"""Complete responses, written to the connection at once: most responses are short JSON documents.

aiohttp assembles the header of each response anew, which takes longer than all other work on a short one.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter

_FORBIDDEN = ("\r", "\n", "\0")


class Whole(web.StreamResponse):
    """A response that is complete before it is sent, with checked headers.

    :param fixed: header lines, each with its line end.
    :param more: further headers, none of which is among the fixed ones.
    :raises ValueError: a header contains a line break.
    """

    def __init__(self, body: bytes, status: int, fixed: str, more: Mapping[str, str] | None = None) -> None:
        super().__init__(status=status)
        self.content = body
        self.more = more or {}
        self._fields = fixed if not more else fixed + "".join(map(_field, more.items()))

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the response.

        :raises ConnectionError: the client has disconnected.
        """
        if self._eof_sent:
            return None
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The connection is closed")
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        header = (
            f"{_status_line(request.version == HttpVersion10, self.status)}{self._fields}"
            f"Content-Length: {len(self.content)}\r\nDate: {_date(int(time()))}\r\n"
            f"{self._connection(request)}\r\n"
        ).encode("utf-8", "surrogateescape")
        body = b"" if request.method == "HEAD" else self.content
        self._eof_sent = True
        self._body_length = len(header) + len(body)
        transport.write(header + body)
        return None

    def _connection(self, request: web.BaseRequest) -> str:
        if request.version == HttpVersion10:
            return "Connection: keep-alive\r\n" if self._keep_alive else ""
        return "" if self._keep_alive else "Connection: close\r\n"

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written everything."""


def _field(header: tuple[str, str]) -> str:
    line = f"{header[0]}: {header[1]}"
    if any(each in line for each in _FORBIDDEN):
        raise ValueError(f"The header {header[0]!r} holds the end of a line")
    return f"{line}\r\n"


@lru_cache(64)
def _status_line(old: bool, status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.{0 if old else 1} {status} {phrase}\r\n"


@lru_cache(2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)

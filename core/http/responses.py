"""What goes out: all with the security headers, errors in one shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from jidoteki.core.http.answers import Whole
from jidoteki.hookspecs import ApiError

PIECE = 4 * 1024
JSON = "application/json"
#: The messages of errors that were raised without one.
MESSAGES = {404: "There is nothing to show", 500: "An internal error: the service's log has the details"}

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
    body, more = told(error, first_run)
    return json_response(body, error.status, {**error.headers, **more})


def told(error: ApiError, first_run: bool | None = None) -> tuple[bytes, dict[str, str]]:
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
    body, more = told(error)
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

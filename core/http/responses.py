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
from jidoteki.hookspecs import ApiError, validators

PIECE = 4 * 1024
JSON = "application/json"
#: Messages of errors without one.
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
#: Lower-case names of headers that are set in every response, and must be replaced and not repeated.
_SET_ANYWAY = {*map(str.lower, _JSON_HEADERS), "content-length", "transfer-encoding", "date", "connection"}


def status_line(status: int) -> str:
    """Return the status with its reason phrase as it is shown in bodies, such as `404 Not Found`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def encode(data: Any) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    """Return a response whose body is encoded JSON."""
    if headers and not _SET_ANYWAY.isdisjoint(map(str.lower, headers)):
        merged = _JSON_HEADERS.copy()
        merged.update(headers)
        return web.Response(body=body, status=status, headers=merged)
    return Whole(body, status, _JSON_FIELDS, headers)


def error_response(error: ApiError, first_run: bool | None = None) -> web.StreamResponse:
    """Return the response for an error.

    :param first_run: whether the first-run passphrase is pending; None if first runs are not enabled.
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
    if error.field:
        body["error-field"] = error.field
    return encode(body), more


def parameter_error(name: str, predicate: str, status: int = 400) -> ApiError:
    """Return the error for a parameter.

    :param predicate: what is wrong with it, to follow its name.
    """
    return ApiError(status, f"{name} {predicate}", field=validators.pointer(name))


def error_bytes(error: ApiError) -> bytes:
    """Return the response to something that is not a request, after which the connection is closed."""
    body, more = told(error)
    return _closing_response(error.status, {**_JSON_HEADERS, **more, "Date": formatdate(usegmt=True)}, body)


def text_error_bytes(status: int, message: str) -> bytes:
    """Return the plain-text response to a client that may be a browser, after which the connection is closed."""
    more = {"Error-Message": header_text(message), "Content-Type": "text/plain; charset=utf-8"}
    return _closing_response(status, {**SECURITY_HEADERS, **more}, f"{message}\n".encode("ascii"))


def _closing_response(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a response after which the connection is closed."""
    fields = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {status_line(status)}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def send_in_pieces(request: web.BaseRequest, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send a long response to an unauthenticated client, of which at most one piece is buffered.

    :raises ConnectionError: the client has disconnected or stalled.
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
    """Return a text as it may appear in a header: printable ASCII, at most 512 characters."""
    return "".join(c if 32 <= ord(c) < 127 else "?" for c in text[:512])

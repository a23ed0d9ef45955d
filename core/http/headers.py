"""Limits and syntax of a request's header, checked before it is parsed."""

from __future__ import annotations

import re

from jidoteki.hookspecs import ApiError

MAX_HEADER = 8 * 1024
#: The limit of a header that is not ASCII, which may take four times its size in memory when decoded.
MAX_ODD_HEADER = 2 * 1024
MAX_LINES = 64
END = b"\r\n\r\n"

#: The request line of HTTP/1.0 and 1.1; https://www.rfc-editor.org/rfc/rfc9112#section-3. A request without a version,
#: as in HTTP/0.9, or with another one must not be answered like that version.
_REQUEST_LINE = re.compile(rb"[!-~]+ [!-~\x80-\xff]+ HTTP/1\.[01]\r\n")


def problem(header: bytes, whole: bool) -> ApiError | None:
    """Return the error in a header, or in the beginning of one, if there is any.

    :param whole: whether it is complete, with the empty line at its end.
    """
    line_ends = header.count(b"\r\n")
    if len(header) > MAX_ODD_HEADER and not header.isascii():
        return ApiError(431, f"The header has more than {MAX_ODD_HEADER} bytes, and others than ASCII")
    if len(header) > MAX_HEADER or line_ends > MAX_LINES + 2:
        return ApiError(431, f"The header has more than {MAX_HEADER} bytes or {MAX_LINES} lines")
    if line_ends and not _REQUEST_LINE.match(header):
        return ApiError(400, "The request is not valid HTTP/1.1")
    if not whole and (header.count(b"\n") != line_ends or not 32 < header[0] < 127):
        return ApiError(400, "The request is not valid HTTP/1.1")
    return None

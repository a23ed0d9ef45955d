"""Forms that RFC 2046 and RFC 9110 allow, and the parser of multipart refuses."""

from __future__ import annotations

import re

import multipart  # type: ignore[import-untyped]  # it has no types

#: Blanks after one delimiter.
MAX_PADDING = 1024

_PAIR = re.compile(r"\\(.)")


def boundary(content_type: str) -> str:
    """Return the boundary in a Content-Type, or an empty string.

    A tab is allowed in place of a space, and quoted pairs in quoted strings (RFC 9110, sections 5.6.3 and 5.6.4).
    """
    _, options = multipart.parse_options_header(content_type.replace("\t", " "), unquote=_unquoted)
    found: str = options.get("boundary", "")
    return found


def _unquoted(value: str, is_filename: bool) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return _PAIR.sub(r"\1", value[1:-1]) if quoted else value


class Parser(multipart.PushMultipartParser):  # type: ignore[misc]  # it has no types
    """A parser that accepts tabs in place of spaces in the headers of parts."""

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> multipart.MultipartSegment:
        return super()._create_segment([(name, value.replace("\t", " ")) for name, value in headerlist])


class Padding:
    """A filter that removes blanks after delimiters from a body in chunks (RFC 2046, section 5.1.1)."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode()
        #: The last bytes, with which a delimiter may begin; initially a line end, as a body may begin with a delimiter.
        self._last = b"\r\n"
        self._blanks = -1
        """The number of blanks after a delimiter; negative elsewhere."""

    def taken_out_of(self, chunk: bytes) -> bytes:
        """Return the chunk without these blanks.

        :raises multipart.ParserError: there are too many.
        """
        content = self._last + chunk
        start = position = len(self._last)
        kept = []
        while True:
            if self._blanks < 0:
                found = content.find(self._delimiter, max(0, position - len(self._delimiter) + 1))
                if found < 0:
                    break
                position = found + len(self._delimiter)
                self._blanks = 0
                kept.append(content[start:position])
            start = self._behind_blanks(content, position)
            if start == len(content):
                break
            if self._blanks and content[start : start + 1] != b"\r":
                kept.append(b" ")  # these are not padding: the parser is to refuse the delimiter
            self._blanks, position = -1, start
        kept.append(content[start:])
        self._last = content[1 - len(self._delimiter) :]
        return b"".join(kept)

    def _behind_blanks(self, content: bytes, position: int) -> int:
        behind = position
        while content[behind : behind + 1] in (b" ", b"\t"):
            behind += 1
            self._blanks += 1
            if self._blanks > MAX_PADDING:
                raise multipart.ParserError("Too many blanks behind a delimiter")
        return behind

"""The body of a request: a form, read as a stream within limits."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import multipart  # type: ignore[import-untyped]  # it has no types

from jidoteki.core.http import multipart_forms
from jidoteki.core.http.forms import Form
from jidoteki.core.http.incoming import Incoming
from jidoteki.core.http.limits import Limits
from jidoteki.core.http.multipart_forms import Padding
from jidoteki.core.http.parts import FilePart, Part, Room, StoredUpload, TextPart
from jidoteki.core.http.responses import header_text, parameter_error
from jidoteki.hookspecs import ApiError, Document, Upload, validators

MAX_PARTS = 64
MAX_TEXT = 64 * 1024
#: Ignored bytes before the first part, between the end of one and the next, and after the last.
MAX_BESIDE_PARTS = 64 * 1024
MAX_NOTHING = 1024
#: Allowed values of Content-Transfer-Encoding, all of which mean unencoded (RFC 7578, section 4.7).
PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
MAX_BUFFERED = 4 * 1024 * 1024
MAX_BUFFERED_OF_A_USER = 16 * 1024 * 1024
MAX_BUFFERED_IN_ALL = 64 * 1024 * 1024


#: Returns the stored file that a text names, or None; the second argument is its maximum size in bytes.
Find = Callable[[bytes, int], Awaitable[StoredUpload | None]]


async def find_nothing(text: bytes, max_size: int) -> StoredUpload | None:
    """Return None: no text names a file."""
    return None


class Buffers:
    """The memory that is used for forms while they are read, in all and by user."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    def hold(self, user: str, size: int) -> None:
        """Count bytes; a negative number releases them.

        :raises ApiError: 503, there are too many.
        """
        if size > 0 and (
            self._held[user] + size > MAX_BUFFERED_OF_A_USER or self._held.total() + size > MAX_BUFFERED_IN_ALL
        ):
            raise ApiError(503, "Too many large forms are being sent at once: try again in a moment")
        self._held[user] += size
        if not self._held[user]:
            del self._held[user]


@dataclass(slots=True)
class Body:
    """A form that is being read.

    :param incoming: what they are read from.
    :param room: of the file system that files are received on.
    :param buffers: where what is kept in memory is counted, under the name of `user`.
    :param find: looks for files that are named and not sent.
    :param hashed: whether to tell the digests of files.
    """

    incoming: Incoming
    form: Form
    limits: Limits
    spool: Path
    room: Room
    buffers: Buffers
    user: str
    find: Find = find_nothing
    hashed: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    _buffered: int = 0
    _held: int = 0

    async def read(self) -> None:
        """Read the whole body into `fields`.

        :raises ApiError: 400, 408, 413 or 415.
        """
        kind = self.incoming.media("form")
        if kind == "multipart/form-data":
            await self._read_multipart()
        elif kind == "application/x-www-form-urlencoded":
            await self._read_urlencoded()
        elif self.incoming.request.can_read_body:
            await self._read_nothing()
        self.incoming.check_digest()

    async def values(self) -> dict[str, Any]:
        """Find the files that are named in place of being sent, and return the validated values.

        :raises ApiError: 400 or 413.
        """
        for name, value in self.fields.items():
            if isinstance(value, StoredUpload) and value.text:
                await self._find(name, value)
        return await asyncio.to_thread(self.form.validate, self.fields)

    async def _find(self, name: str, named: StoredUpload) -> None:
        """Replace a text that names a file by the file."""
        try:
            found = await self.find(named.text, self.form.kinds[name].max_size or self.limits.upload)
        except ApiError as error:
            error.field = error.field or validators.pointer(name)
            raise
        if found is not None:
            self.fields[name] = found
            await asyncio.to_thread(named.path.unlink, missing_ok=True)
        elif not named.size:
            raise parameter_error(name, "must be sent as a file in multipart/form-data")

    async def discard(self) -> None:
        """Remove the files that the handler did not keep, and release the memory."""
        self.buffers.hold(self.user, -self._held)
        self._held = 0
        for value in self.fields.values():
            if isinstance(value, StoredUpload) and not value.kept:
                await asyncio.to_thread(value.path.unlink, missing_ok=True)

    async def _read_nothing(self) -> None:
        """Read a body without parameters, such as the `{}` that many clients send as JSON."""
        content = b""
        if self.form.needs_nothing:
            async for chunk in self.incoming.chunks():
                content += chunk
                if len(content) > MAX_NOTHING:
                    break
            if _is_blank(content):
                return
        raise ApiError(415, "Send the parameters as multipart/form-data")

    async def _read_urlencoded(self) -> None:
        content = bytearray()
        async for chunk in self.incoming.chunks():
            self._hold(len(chunk))
            content += chunk
            if len(content) > MAX_TEXT * 4:
                raise ApiError(413, "The form is too long: send files as multipart/form-data")
        if self.form.needs_nothing and _is_blank(content):
            return
        try:
            pairs = parse_qsl(content.decode("utf-8"), True, True, max_num_fields=MAX_PARTS) if content else []
        except ValueError as error:
            raise ApiError(400, "The form is not valid application/x-www-form-urlencoded") from error
        for name, value in pairs:
            self._check_field(name)
            kind = self.form.kinds[name]
            text = value.encode("utf-8", "surrogateescape")
            if isinstance(kind, Upload):
                self.fields[name] = StoredUpload.named(self.spool, text)
            else:
                self._text(name, kind, text)

    async def _read_multipart(self) -> None:
        boundary = multipart_forms.boundary(self.incoming.content_type)
        length = self.incoming.request.content_length
        await asyncio.to_thread(self._check_space, length or 0)
        try:
            parser = multipart_forms.Parser(
                boundary,
                content_length=-1 if length is None else length,
                max_segment_count=MAX_PARTS,
                # A strict one refuses the line end after the last part if it arrives in a packet of its own.
                strict=False,
            )
            await self._feed(parser, Padding(boundary))
        except multipart.ParserLimitReached as error:
            raise ApiError(413, f"The form has too many or too long parts: at most {MAX_PARTS} are allowed") from error
        except (multipart.MultipartError, ValueError) as error:
            why = "" if boundary else ": its Content-Type names no boundary, which clients add themselves"
            raise ApiError(400, f"The body is not valid multipart/form-data{why}") from error

    def _check_space(self, length: int) -> None:
        if not any(isinstance(kind, Upload) for kind in self.form.kinds.values()):
            return
        try:
            free = shutil.disk_usage(self.spool).free - self.limits.free_space
        except OSError:
            return  # the spool does not exist yet: it is created with the first file
        if length > free:
            raise ApiError(400, f"The body has {length} bytes, but there is room for only {max(0, free)}")

    async def _feed(self, parser: multipart_forms.Parser, padding: Padding) -> None:
        part: Part | None = None
        beside = 0
        try:
            async for chunk in self.incoming.chunks():
                beside += len(chunk) if part is None else 0
                content = padding.taken_out_of(chunk)
                for event in parser.parse(content) if content else ():  # the parser takes an empty chunk for the end
                    beside = 0
                    if isinstance(event, multipart.MultipartSegment):
                        part = self._part(event)
                    elif part is None:
                        raise multipart.ParserError("Data outside of a part")
                    elif event is None:
                        await part.end()
                        part = None
                    else:
                        await part.write(event)
                if beside > MAX_BESIDE_PARTS:
                    raise multipart.ParserError("Too much before the first or behind the last part")
            parser.close()
        finally:
            if part is not None:
                await part.abandon()

    def _hold(self, size: int) -> None:
        self.buffers.hold(self.user, size)
        self._held += size

    def _check_field(self, name: str) -> None:
        self.form.check_name(name)
        if name in self.fields:
            raise parameter_error(name, "is given twice")

    def _part(self, segment: multipart.MultipartSegment) -> Part:
        name = segment.name
        if not name:
            raise ApiError(400, "A part of the form has no name")
        self._check_field(name)
        kind = self.form.kinds[name]
        encoding = segment.header("Content-Transfer-Encoding", "").strip().lower()
        if encoding not in PLAIN_ENCODINGS:
            shown = header_text(encoding[:64])
            raise parameter_error(name, f"must be sent as it is, without Content-Transfer-Encoding: {shown}")
        if isinstance(kind, Upload):
            named = segment.filename is not None
            file = FilePart(name, self.spool, kind.max_size or self.limits.upload, self.room, named, self.hashed)
            self.fields[name] = file.stored
            return file
        if segment.filename is not None and not isinstance(kind, Document):
            raise parameter_error(name, "must be text, not a file")
        self.fields[name] = None
        return TextPart(name, _max_size(kind), self._hold, partial(self._text, name, kind))

    def _text(self, name: str, kind: Any, content: bytes) -> None:
        limit = _max_size(kind)
        self._buffered += len(content)
        if len(content) > limit or self._buffered > MAX_BUFFERED:
            raise parameter_error(name, f"must not be longer than {min(limit, MAX_BUFFERED)} bytes")
        if isinstance(kind, Document):
            self.fields[name] = content
            return
        try:
            self.fields[name] = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise parameter_error(name, "must be UTF-8 text") from error


def _is_blank(content: bytes | bytearray) -> bool:
    """Return whether a body is empty, or JSON without a value."""
    try:
        return len(content) <= MAX_NOTHING and json.loads(content or b"null") in (None, {}, [], "")
    except (ValueError, RecursionError):
        return False


def _max_size(kind: Any) -> int:
    """Return the maximum size of a field other than a file, in bytes."""
    longest: int = kind.max_size if isinstance(kind, Document) else MAX_TEXT
    return longest

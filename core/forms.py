"""What comes in: the fields and files of a form, streamed, limited, and validated by the endpoint's own schema."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import multipart  # type: ignore[import-untyped]
import voluptuous as vol
from aiohttp import web

from jidoteki.core import files
from jidoteki.core.responses import header_text
from jidoteki.hookspecs import ApiError, Document, Endpoint, Upload, validators

MAX_PARTS = 64
MAX_TEXT = 64 * 1024
MAX_BUFFERED = 4 * 1024 * 1024
UPLOAD_PREFIX = f"{files.TEMPORARY_PREFIX}upload-"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how slowly a body may come.

    :param upload: bytes of one uploaded file.
    :param free_space: bytes that stay free on the file system of the uploads.
    :param idle: seconds without a byte.
    :param rate: bytes a second that must come on average, once the first 30 seconds are over.
    """

    upload: int
    free_space: int
    idle: float
    rate: int


@dataclass(slots=True)
class StoredUpload:
    """Implements `jidoteki.hookspecs.UploadedFile`."""

    path: Path
    size: int = 0
    kept: bool = False

    async def keep(self, name: str) -> Path:
        """Give the file its name in the uploads directory."""
        if "/" in name or name in ("", ".", ".."):
            raise ValueError("keep() takes a file name, not a path")
        target = self.path.with_name(name)
        await asyncio.to_thread(self._move, target)
        self.path, self.kept = target, True
        return target

    def _move(self, target: Path) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        files.sync_directory(target.parent)


class Form:
    """The parameters of one endpoint, ready to read and to judge what a request sends.

    :param accepted: the names that the configuration lets through; None for all.
    """

    def __init__(self, endpoint: Endpoint, accepted: frozenset[str] | None) -> None:
        self.kinds: dict[str, Any] = {}
        schema: dict[Any, Any] = {}
        for marker, validator in endpoint.parameters.items():
            name = str(marker.schema if isinstance(marker, vol.Marker) else marker)
            if accepted is not None and name not in accepted:
                continue
            self.kinds[name] = validator
            schema[marker] = _field_validator(validator)
        self._schema = vol.Schema(schema)

    def validate(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the validated values.

        :raises ApiError: 400 with a sentence that names the parameter and what is allowed.
        """
        try:
            return dict(self._schema(dict(fields)))
        except vol.Invalid as error:
            raise ApiError(400, validators.explain(error)) from error

    def check_name(self, name: str) -> None:
        """Refuse a parameter that the endpoint does not have."""
        if name not in self.kinds:
            shown = header_text(name[:64])
            allowed = f"allowed: {', '.join(self.kinds)}" if self.kinds else "this endpoint has none"
            raise ApiError(400, f"Unknown parameter {shown!r}, {allowed}")


def _field_validator(validator: Any) -> Any:
    if isinstance(validator, Upload):
        return _non_empty
    if isinstance(validator, Document):
        return validator.validator
    return validator


def _non_empty(value: StoredUpload) -> StoredUpload:
    if value.size == 0:
        raise vol.Invalid("must not be empty")
    return value


@dataclass(slots=True)
class Body:
    """The fields of one request while they are read.

    :param digest: SHA-256 that the whole body must have; None for any body.
    """

    request: web.BaseRequest
    form: Form
    limits: Limits
    uploads: Path
    digest: bytes | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    _buffered: int = 0
    _hash: Any = None

    async def read(self) -> dict[str, Any]:
        """Read and validate the whole body.

        :raises ApiError: 400, 408, 413 or 415.
        """
        kind = self.request.content_type
        if self.digest is not None:
            self._hash = hashlib.sha256()
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ApiError(415, "Send the form without Content-Encoding")
        if kind == "multipart/form-data":
            await self._read_multipart()
        elif kind == "application/x-www-form-urlencoded":
            await self._read_urlencoded()
        elif self.request.can_read_body:
            raise ApiError(415, "Send the parameters as multipart/form-data")
        if self._hash is not None and self._hash.digest() != self.digest:
            raise ApiError(400, "The body is not the one that was signed")
        return await asyncio.to_thread(self.form.validate, self.fields)

    async def discard(self) -> None:
        """Remove the files that the handler did not keep."""
        for value in self.fields.values():
            if isinstance(value, StoredUpload) and not value.kept:
                await asyncio.to_thread(value.path.unlink, missing_ok=True)

    async def _chunks(self) -> Any:
        loop = asyncio.get_running_loop()
        started = loop.time()
        received = 0
        while True:
            try:
                async with asyncio.timeout(self.limits.idle):
                    chunk = await self.request.content.readany()
            except TimeoutError as error:
                raise ApiError(408, f"No data came for {self.limits.idle:g} seconds") from error
            except (web.RequestPayloadError, ConnectionError) as error:
                raise ApiError(400, "The body is damaged or ended early") from error
            if not chunk:
                return
            received += len(chunk)
            if self._hash is not None:
                self._hash.update(chunk)
            late = loop.time() - started - 30
            if late > 0 and received < late * self.limits.rate:
                raise ApiError(408, f"The body came at less than {self.limits.rate} bytes a second")
            yield chunk

    async def _read_urlencoded(self) -> None:
        content = bytearray()
        async for chunk in self._chunks():
            content += chunk
            if len(content) > MAX_TEXT * 4:
                raise ApiError(413, "The form is too long: send files as multipart/form-data")
        try:
            pairs = parse_qsl(content.decode("utf-8"), True, True, max_num_fields=MAX_PARTS) if content else []
        except ValueError as error:
            raise ApiError(400, "The form is not valid application/x-www-form-urlencoded") from error
        for name, value in pairs:
            self._begin(name)
            kind = self.form.kinds[name]
            if isinstance(kind, Upload):
                raise ApiError(400, f"{name} must be sent as a file in multipart/form-data")
            self._text(name, kind, value.encode("utf-8", "surrogateescape"))

    async def _read_multipart(self) -> None:
        _, options = multipart.parse_options_header(self.request.headers.get("Content-Type", ""))
        length = self.request.content_length
        await asyncio.to_thread(self._check_space, length or 0)
        try:
            parser = multipart.PushMultipartParser(
                options.get("boundary", ""),
                content_length=-1 if length is None else length,
                max_segment_count=MAX_PARTS,
                strict=True,
            )
            await self._feed(parser)
        except multipart.ParserLimitReached as error:
            raise ApiError(413, f"The form has too many or too long parts: at most {MAX_PARTS} are allowed") from error
        except (multipart.MultipartError, ValueError) as error:
            raise ApiError(400, "The body is not valid multipart/form-data") from error

    def _check_space(self, length: int) -> None:
        if not any(isinstance(kind, Upload) for kind in self.form.kinds.values()):
            return
        free = shutil.disk_usage(self.uploads).free - self.limits.free_space
        if length > free:
            raise ApiError(400, f"The body has {length} bytes, but there is room for only {max(0, free)}")

    async def _feed(self, parser: multipart.PushMultipartParser) -> None:
        part: _Part | None = None
        try:
            async for chunk in self._chunks():
                for event in parser.parse(chunk):
                    if isinstance(event, multipart.MultipartSegment):
                        part = self._part(event)
                    elif part is None:
                        raise multipart.ParserError("Data outside of a part")
                    elif event is None:
                        await part.end()
                        part = None
                    else:
                        await part.write(event)
            parser.close()
        finally:
            if part is not None:
                await part.abandon()

    def _begin(self, name: str) -> None:
        self.form.check_name(name)
        if name in self.fields:
            raise ApiError(400, f"{name} is given twice")

    def _part(self, segment: multipart.MultipartSegment) -> _Part:
        name = segment.name
        self._begin(name)
        kind = self.form.kinds[name]
        if isinstance(kind, Upload):
            return _FilePart(self, name, kind.max_size or self.limits.upload)
        if segment.filename is not None and not isinstance(kind, Document):
            raise ApiError(400, f"{name} must be text, not a file")
        self.fields[name] = None
        return _TextPart(self, name, kind)

    def _text(self, name: str, kind: Any, content: bytes) -> None:
        limit = kind.max_size if isinstance(kind, Document) else MAX_TEXT
        self._buffered += len(content)
        if len(content) > limit or self._buffered > MAX_BUFFERED:
            raise ApiError(400, f"{name} must not be longer than {min(limit, MAX_BUFFERED)} bytes")
        if isinstance(kind, Document):
            self.fields[name] = content
            return
        try:
            self.fields[name] = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ApiError(400, f"{name} must be UTF-8 text") from error


class _Part:
    async def write(self, chunk: bytes) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        raise NotImplementedError

    async def abandon(self) -> None:
        return None


class _TextPart(_Part):
    def __init__(self, body: Body, name: str, kind: Any) -> None:
        self._body, self._name, self._kind = body, name, kind
        self._content = bytearray()
        self._limit = kind.max_size if isinstance(kind, Document) else MAX_TEXT

    async def write(self, chunk: bytes) -> None:
        self._content += chunk
        if len(self._content) > self._limit:
            raise ApiError(400, f"{self._name} must not be longer than {self._limit} bytes")

    async def end(self) -> None:
        self._body._text(self._name, self._kind, bytes(self._content))


class _FilePart(_Part):
    """Writes in a thread while the next chunk is being received: one write pending, never more."""

    def __init__(self, body: Body, name: str, max_size: int) -> None:
        self._name, self._max_size = name, max_size
        self._limits, self._uploads = body.limits, body.uploads
        self._stored = StoredUpload(body.uploads / f"{UPLOAD_PREFIX}{secrets.token_hex(8)}")
        body.fields[name] = self._stored
        self._descriptor = -1
        self._pending: asyncio.Future[None] | None = None
        self._checked_at = -1

    async def write(self, chunk: bytes) -> None:
        if self._descriptor < 0:
            self._descriptor = await asyncio.to_thread(self._open)
        self._stored.size += len(chunk)
        if self._stored.size > self._max_size:
            raise ApiError(413, f"{self._name} must not be longer than {self._max_size} bytes")
        await self._drain()
        self._pending = asyncio.get_running_loop().run_in_executor(None, self._write, chunk, self._stored.size)

    async def end(self) -> None:
        try:
            await self._drain()
        finally:
            await self._close()

    async def abandon(self) -> None:
        try:
            await self._drain()
        except ApiError:
            pass
        finally:
            await self._close()

    async def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            await asyncio.to_thread(os.close, descriptor)

    async def _drain(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            await pending
        except OSError as error:
            raise ApiError(400, f"{self._name} cannot be stored: {error.strerror or error}") from error

    def _open(self) -> int:
        self._uploads.mkdir(parents=True, exist_ok=True)
        return os.open(self._stored.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)

    def _write(self, chunk: bytes, size: int) -> None:
        if size // (16 * 1024 * 1024) != self._checked_at:
            self._checked_at = size // (16 * 1024 * 1024)
            if shutil.disk_usage(self._uploads).free < self._limits.free_space:
                raise OSError(f"less than {self._limits.free_space} bytes are free")
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._descriptor, view) :]

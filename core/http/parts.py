"""The parts of a form while they are received: texts in memory, files on disk."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jidoteki.core import files
from jidoteki.core.files.leftovers import TEMPORARY_PREFIX
from jidoteki.core.http.responses import parameter_error
from jidoteki.hookspecs import ApiError, file_names

LOOK_EACH = 1.0
UPLOAD_PREFIX = f"{TEMPORARY_PREFIX}upload-"


@dataclass(slots=True)
class StoredUpload:
    """A received file; implements `jidoteki.hookspecs.UploadedFile`."""

    path: Path
    size: int = 0
    kept: bool = False
    text: bytes = b""
    """The content, if it is short and came without a file name; it may be the name of a file."""
    digest: bytes = b""
    """The file's SHA-256, if it was asked for."""

    @classmethod
    def named(cls, spool: Path, text: bytes) -> StoredUpload:
        """Return a file that was not sent: the text may name one that is on the appliance."""
        return cls(_path(spool), text=text or b"-", digest=hashlib.sha256(text).digest())

    async def keep(self, name: str) -> Path:
        """Rename the file within the spool, and keep it."""
        if "/" in name or name in ("", ".", ".."):
            raise ValueError("keep() takes a file name, not a path")
        target = self.path.with_name(name)
        await asyncio.to_thread(self.path.replace, target)
        self.path, self.kept = target, True
        return target


def _path(spool: Path) -> Path:
    """Return a new temporary path in the spool."""
    return spool / f"{UPLOAD_PREFIX}{secrets.token_hex(8)}"


class Part(ABC):
    """A part that is being received. All methods raise ApiError if it must be refused."""

    @abstractmethod
    async def write(self, chunk: bytes) -> None:
        """Receive the next chunk."""

    @abstractmethod
    async def end(self) -> None:
        """Complete the part."""

    async def abandon(self) -> None:
        """Close the part, which will not be complete."""
        return


class TextPart(Part):
    """A field or a small document.

    :param limit: bytes.
    :param hold: counts the memory in use.
    :param take: called with the complete content.
    """

    def __init__(self, name: str, limit: int, hold: Callable[[int], None], take: Callable[[bytes], None]) -> None:
        self._name, self._limit, self._hold, self._take = name, limit, hold, take
        self._content = bytearray()

    async def write(self, chunk: bytes) -> None:
        self._hold(len(chunk))
        self._content += chunk
        if len(self._content) > self._limit:
            raise parameter_error(self._name, f"must not be longer than {self._limit} bytes")

    async def end(self) -> None:
        self._take(bytes(self._content))


class Room:
    """The space that all uploads together may use on a file system, so that a reserve stays free.

    :param directory: on that file system.
    :param reserve: returns the number of bytes that must stay free.
    """

    def __init__(self, directory: Path, reserve: Callable[[], int]) -> None:
        self._reserve = reserve
        self._directory = directory
        self._lock = threading.Lock()
        self._left = 0
        self._looked = float("-inf")

    def take(self, size: int) -> None:
        """Reserve space for bytes that are about to be written; blocks.

        :raises OSError: too little would stay free.
        """
        with self._lock:
            now, reserve = time.monotonic(), self._reserve()
            if self._left < size or now - self._looked > LOOK_EACH:
                self._left = shutil.disk_usage(self._directory).free - reserve
                self._looked = now
            if self._left < size:
                raise OSError(f"less than {reserve} bytes would be free")
            self._left -= size


class FilePart(Part):
    """A file, written in a thread while the next chunk is being received, with at most one write pending.

    :param spool: the directory, created if missing.
    :param max_size: bytes.
    :param room: the space on its file system.
    :param named: whether it came with a file name; otherwise its content may be one.
    :param hashed: whether to compute its digest.
    """

    def __init__(
        self, name: str, spool: Path, max_size: int, room: Room, named: bool = True, hashed: bool = False
    ) -> None:
        self.stored = StoredUpload(_path(spool))
        self._name, self._spool, self._max_size, self._room = name, spool, max_size, room
        self._beginning = None if named else b""
        self._hash = hashlib.sha256() if hashed else None
        self._descriptor = -1
        self._pending: asyncio.Future[None] | None = None

    async def write(self, chunk: bytes) -> None:
        """Wait until the previous chunk is written, and start writing this one."""
        if self._descriptor < 0:
            try:
                self._descriptor = await asyncio.to_thread(self._open)
            except OSError as error:
                raise self._not_stored(error) from error
        self.stored.size += len(chunk)
        if self.stored.size > self._max_size:
            raise parameter_error(self._name, f"must not be longer than {self._max_size} bytes", 413)
        if self._beginning is not None:
            self._beginning = self._beginning + chunk if self.stored.size <= file_names.MAX_NAME else None
        if self._hash:
            self._hash.update(chunk)
        await self._drain()
        self._pending = asyncio.get_running_loop().run_in_executor(None, self._write, chunk)

    async def end(self) -> None:
        """Wait until everything is written."""
        try:
            await self._drain()
        finally:
            await self._close()
        if self._beginning and file_names.looks_like_one(self._beginning):
            raise parameter_error(self._name, f"must be a file; {file_names.hint(self._name)}")
        self.stored.text = self._beginning or b""
        self.stored.digest = self._hash.digest() if self._hash else b""

    async def abandon(self) -> None:
        """Close the file; the owner of `stored` removes it."""
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
            raise self._not_stored(error) from error

    def _not_stored(self, error: OSError) -> ApiError:
        return parameter_error(self._name, f"cannot be stored: {error.strerror or error}")

    def _open(self) -> int:
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self.stored.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)

    def _write(self, chunk: bytes) -> None:
        self._room.take(len(chunk))
        files.write_all(self._descriptor, chunk)

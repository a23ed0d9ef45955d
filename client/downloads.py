"""Downloads that are resumed after a lost connection.

The received part is kept in `TARGET.part`, and the file's ETag or Last-Modified (RFC 9110) in `TARGET.part.tag`: only
the rest of the same file is requested (`If-Range`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import aiohttp

from jidoteki.client.answers import Pace, chunks
from jidoteki.client.errors import ClientError, UnreachableError

#: Tries in a row without progress, and restarts because the appliance has another file.
TRIES = 5
#: Bytes of the file system to leave free.
RESERVE = 256 * 1024 * 1024
#: Bytes of a file whose size is not known in advance.
MAX_UNTOLD = 1024 * 1024 * 1024
LONGEST_PAUSE = 8.0

Progress = Callable[[int, int | None], None]
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)


class _TooLongError(ClientError):
    """A file that is not worth resuming."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a download.

    :param patience: seconds, in addition to those for a slow line.
    :param max_size: bytes; None for what the file system has space for.
    """

    patience: float
    max_size: int | None

    def allow(self, size: int, total: int | None, file: int) -> None:
        """Refuse a file that grows too long.

        :param size: bytes so far.
        :param total: total size in bytes, if known.
        :param file: its descriptor.
        :raises ClientError: it is too long.
        """
        if total is not None and size > total:
            raise _TooLongError(f"The appliance sent more than the {total} bytes that it said")
        longest = self.max_size if self.max_size is not None or total is not None else MAX_UNTOLD
        if longest is not None and max(size, total or 0) > longest:
            raise _TooLongError(f"The file has more than {longest} bytes: allow more if it may have them")
        make_sure_of_room(file, (total or size) - size)


def make_sure_of_room(file: int, more: int) -> None:
    """Check that 256 MiB stay free on the file system of an open file.

    :param more: bytes still to be written.
    :raises ClientError: too little space would stay free.
    """
    status = os.fstatvfs(file)
    free = status.f_bavail * status.f_frsize
    if free - more < RESERVE:
        raise ClientError(f"There is too little room: {free} bytes are free, and {RESERVE} stay free")


class Opener(Protocol):
    """The part of a Client that a download needs."""

    def open(
        self, method: str, path: str, *, headers: dict[str, str], accept: tuple[int, ...]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Make a request."""


async def download(client: Opener, path: str, target: Path, on_progress: Progress | None, limits: Limits) -> Path:
    """Download to a file; see `Client.download`."""
    pace = Pace(limits.patience)
    with _Part(target, limits) as part:
        tries = anew = 0
        while True:
            before = part.size()
            try:
                if await _attempt(client, path, part, on_progress, pace):
                    part.finish()
                    return target
                lost: ClientError = ClientError("The appliance has another file each time: try again later")
                anew += 1
            except UnreachableError as error:
                lost = error
            tries = 0 if part.size() > before else tries + 1
            if max(tries, anew, part.beginnings - 1) >= TRIES:
                raise lost
            await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2**tries))
            pace.count(0)


class _Part:
    """The received part of a file, locked against another download to the same file."""

    def __init__(self, target: Path, limits: Limits) -> None:
        self.beginnings = 0
        self._limits = limits
        self._target = target
        self._path = target.with_name(f"{target.name}.part")
        self._tag_file = target.with_name(f"{target.name}.part.tag")
        self._file = self._path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ClientError(f"{self._target} is being downloaded already") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and (self.size() == 0 or issubclass(kind, _TooLongError)):
            self._path.unlink(missing_ok=True)
            self._tag_file.unlink(missing_ok=True)
        self._file.close()

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def rest(self) -> dict[str, str]:
        """Return the headers that request the rest; empty to request all of it."""
        tag = self._tag_file.read_text(encoding="ascii", errors="replace") if self._tag_file.exists() else ""
        size = self.size()
        return {"Range": f"bytes={size}-", "If-Range": tag} if size and tag else {}

    def begin(self, tag: str | None) -> None:
        """Start again with a file that has this tag."""
        self.beginnings += 1
        self._tag_file.unlink(missing_ok=True)
        self._file.truncate(0)
        if tag:
            self._tag_file.write_text(tag, encoding="ascii", errors="replace")

    def allow(self, more: int, total: int | None) -> None:
        """Refuse what the limits do not allow."""
        self._limits.allow(self.size() + more, total, self._file.fileno())

    def write(self, chunk: bytes, total: int | None) -> None:
        """Append a chunk.

        :raises ClientError: the file is too long.
        """
        self.allow(len(chunk), total)
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> None:
        os.replace(self._path, self._target)
        self._tag_file.unlink(missing_ok=True)


async def _attempt(client: Opener, path: str, part: _Part, on_progress: Progress | None, pace: Pace) -> bool:
    """Download the file or the rest of it; return False when it must be started again."""
    wanted = part.rest()
    # Identity: size and range must be those of the file, not of a compressed form.
    headers = {"Accept-Encoding": "identity", **wanted}
    async with client.open("GET", path, headers=headers, accept=(416,)) as response:
        if response.status == 416:
            part.begin(None)
            return False
        total = response.content_length
        if response.status == 206:
            start, total = _range(response)
            if start != part.size():
                part.begin(None)
                return False
        else:
            part.begin(_tag(response))
        part.allow(0, total)
        async for chunk in chunks(response, pace):
            await asyncio.to_thread(part.write, chunk, total)
            if on_progress:
                on_progress(part.size(), total)
    if total is not None and part.size() != total:
        raise UnreachableError(f"The connection was lost after {part.size()} of {total} bytes")
    return True


def _range(response: aiohttp.ClientResponse) -> tuple[int, int | None]:
    """Return the offset of the part, and the total size."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not found:
        raise ClientError("The appliance sent a part without saying which")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _tag(response: aiohttp.ClientResponse) -> str | None:
    """Return the identifier of this version of the file: a strong ETag, or else Last-Modified."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")

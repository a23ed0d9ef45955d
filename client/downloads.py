"""Downloads that go on where a lost connection left off.

What is there so far lies in `TARGET.part`, and in `TARGET.part.tag` what the appliance called that file (RFC 9110,
ETag or Last-Modified): a rest is asked for only of that very file (`If-Range`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import aiohttp

from jidoteki.client.problems import ClientProblem, Unreachable

CHUNK = 256 * 1024
#: Tries in a row that bring nothing.
TRIES = 5
LONGEST_PAUSE = 8.0

Progress = Callable[[int, int | None], None]
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Opener(Protocol):
    """The part of a Client that a download needs."""

    def open(
        self, method: str, path: str, *, headers: dict[str, str], accept: tuple[int, ...]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Make a request."""


async def download(client: Opener, path: str, target: Path, on_progress: Progress | None) -> Path:
    """Download to a file; see `Client.download`."""
    with _Part(target) as part:
        tries = 0
        while True:
            before = part.size()
            try:
                if await _attempt(client, path, part, on_progress):
                    part.finish()
                    return target
                lost: ClientProblem = ClientProblem("The appliance has another file each time: try again later")
            except Unreachable as error:
                lost = error
            tries = 0 if part.size() > before else tries + 1
            if tries >= TRIES:
                raise lost
            await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2**tries))


class _Part:
    """What is there so far; nobody else may download to the same file meanwhile."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f"{target.name}.part")
        self._tag_file = target.with_name(f"{target.name}.part.tag")
        self._file = self._path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ClientProblem(f"{self._target} is being downloaded already") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and self.size() == 0:
            self._path.unlink(missing_ok=True)
            self._tag_file.unlink(missing_ok=True)
        self._file.close()

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def rest(self) -> dict[str, str]:
        """The headers that ask for the rest, none when all of it is wanted."""
        tag = self._tag_file.read_text(encoding="ascii", errors="replace") if self._tag_file.exists() else ""
        size = self.size()
        return {"Range": f"bytes={size}-", "If-Range": tag} if size and tag else {}

    def begin(self, tag: str | None) -> None:
        """Start over with a file that the appliance calls by this tag."""
        self._tag_file.unlink(missing_ok=True)
        self._file.truncate(0)
        if tag:
            self._tag_file.write_text(tag, encoding="ascii", errors="replace")

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> None:
        os.replace(self._path, self._target)
        self._tag_file.unlink(missing_ok=True)


async def _attempt(client: Opener, path: str, part: _Part, on_progress: Progress | None) -> bool:
    """Fetch all, or what is missing; False when it must be started over."""
    wanted = part.rest()
    # Identity: a length and a range are those of the file, not of something compressed on the way.
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
        await _append(response, part, total, on_progress)
    if total is not None and part.size() != total:
        raise Unreachable(f"The connection was lost after {part.size()} of {total} bytes")
    return True


async def _append(
    response: aiohttp.ClientResponse, part: _Part, total: int | None, on_progress: Progress | None
) -> None:
    async for chunk in response.content.iter_chunked(CHUNK):
        await asyncio.to_thread(part.write, chunk)
        if on_progress:
            on_progress(part.size(), total)


def _range(response: aiohttp.ClientResponse) -> tuple[int, int | None]:
    """Where the part begins, and the length of the whole."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not found:
        raise ClientProblem("The appliance sent a part without saying which")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _tag(response: aiohttp.ClientResponse) -> str | None:
    """What stands for this very version of the file: a strong ETag, else when it was changed."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")

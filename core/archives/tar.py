"""A strict reader of tar archives: forward only, in constant memory; damage is never taken for the end.

`tarfile` parses the members' own headers. The rest is done here: parsing the extended headers, limiting the size of one
member's headers, treating a damaged header as an error and not as the end, and checking that all bytes between and
after the members are zero.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Protocol

from jidoteki.core.archives import pax

BLOCK = tarfile.BLOCKSIZE
CHUNK = 512 * 1024
MAX_HEADER = 32 * 1024
MAX_SHOWN = 100
#: Sizes from here on do not fit into the header's own field and need an extended header.
EXTENDED_SIZE = 8 * 1024**3

_LONG_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_TYPE = slice(156, 157)
_MAGIC = slice(257, 262)
#: The signatures of files that are sent by mistake.
_OTHERS = {
    b"\xfd7zXZ\0": "an xz file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"PK\x03\x04": "a zip file",
    b"7z\xbc\xaf": "a 7-Zip file",
    b"\x1f\x8b": "a gzip file within another one",
    b"Salted__": "an encrypted package",
    b"#!": "a script",
}

#: The errors of tarfile on malicious headers.
_BROKEN = (tarfile.TarError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError)


class Source(Protocol):
    """A stream that is read from beginning to end."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes; empty at the end."""


class ArchiveError(Exception):
    """A damaged archive, or one with a refused member; the message is a full sentence."""


class NoRoomError(ArchiveError):
    """An archive for which there is too little free disk."""


def refuse(name: str, reason: str) -> ArchiveError:
    """Return the error for one member, whose name may contain any characters."""
    shown = name.encode("unicode_escape", "backslashreplace").decode("ascii")
    if len(shown) > MAX_SHOWN:
        shown = f"{shown[: MAX_SHOWN - 3]}..."
    return ArchiveError(f"The archive's member '{shown}' {reason}")


def is_tar(content: bytes) -> bool:
    """Return whether content begins with a member's header."""
    try:
        return bool(tarfile.TarInfo.frombuf(content[:BLOCK], "utf-8", "replace"))
    except (tarfile.TarError, ValueError):
        return False


def _not_tar(block: bytes) -> str | None:
    """Return the error for a file whose first block is not that of a tar archive, even a truncated one; else None."""
    if not block.strip(b"\0") or block[_MAGIC] == b"ustar" or is_tar(block):
        return None
    kind = next((f", but {kind}" for begins, kind in _OTHERS.items() if block.startswith(begins)), "")
    if not kind and len(block) < BLOCK and b"\0" in block:  # a header truncated before its numbers ends with zeros
        return None
    return f"The archive is no tar archive{kind}: it must be one, as it is or compressed with gzip"


class _Window:
    """The file object for `tarfile`: it only moves forward, and limits the size of headers."""

    def __init__(self, source: Source, max_header: int) -> None:
        self._source = source
        self._max_header = max_header
        self._chunk = memoryview(b"")
        self._position = 0
        self._budget = 0
        self.last_block = b""

    def begin_header(self) -> bytes:
        """Return the first block of a member's headers without consuming it; less at the end of the source."""
        self._budget = self._max_header
        return self.peek()

    def restrict(self, size: int) -> None:
        """Limit the rest of a member's headers to `size` bytes."""
        self._budget = min(self._budget, size)

    def peek(self) -> bytes:
        """Return the next block without consuming it."""
        self._fill(BLOCK)
        return bytes(self._chunk[:BLOCK])

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes of a header."""
        if not 0 <= size <= self._budget:
            raise ArchiveError(f"The archive has a header longer than {self._max_header} bytes")
        self._budget -= size
        data = self.exactly(size)
        if size == BLOCK:
            self.last_block = data
        return data

    def exactly(self, size: int) -> bytes:
        """Return `size` bytes, few enough to hold in memory."""
        self._fill(size)
        if len(self._chunk) < size:
            raise ArchiveError("The archive is cut off")
        return bytes(self.some(size)) if size else b""

    def some(self, limit: int) -> memoryview:
        """Return from 1 to `limit` bytes without copying; empty at the end of the source."""
        if not self._chunk:
            self._chunk = memoryview(self._source.read(CHUNK))
        taken, self._chunk = self._chunk[:limit], self._chunk[limit:]
        self._position += len(taken)
        return taken

    def _fill(self, size: int) -> None:
        while len(self._chunk) < size:
            more = self._source.read(CHUNK)
            if not more:
                return
            self._chunk = memoryview(bytes(self._chunk) + more)


class TarReader:
    """A reader of an archive's members, one after another.

    :param source: an uncompressed archive.
    :param max_header: largest size in bytes of one member's headers.
    :param sparse: whether members may be sparse files (`pax.apply`).
    """

    def __init__(self, source: Source, max_header: int = MAX_HEADER, *, sparse: bool = False) -> None:
        self._window = _Window(source, max_header)
        # tarfile skips damaged headers when it iterates: this object only parses headers.
        self._tar = tarfile.TarFile(fileobj=io.BytesIO(bytes(BLOCK * 2)), encoding="utf-8", errors="surrogateescape")
        self._tar.fileobj = self._window  # type: ignore[assignment]  # reads are all that it needs
        self._sparse = sparse
        self._left = 0
        self._padding = 0

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member; None at the end of the archive.

        :raises ArchiveError: the archive is damaged or truncated.
        """
        for _ in self.data():
            pass
        block = self._window.begin_header()
        if not self._window.tell() and (told := _not_tar(block)):
            raise ArchiveError(told)
        if len(block) < BLOCK:
            raise ArchiveError("The archive is cut off")
        if not block.strip(b"\0"):
            self._check_rest()
            return None
        info = self._parse()
        if info.isreg():
            self._left, self._padding = info.size, -info.size % BLOCK
        return info

    @property
    def header(self) -> bytes:
        """The raw header block of the current member."""
        return self._window.last_block

    def data(self) -> Iterator[memoryview]:
        """Yield the rest of the current member's content in chunks of up to 512 KiB.

        :raises ArchiveError: the archive is damaged or truncated.
        """
        while self._left:
            chunk = self._window.some(self._left)
            if not chunk:
                raise ArchiveError("The archive is cut off")
            self._left -= len(chunk)
            yield chunk
        if self._window.exactly(self._padding).strip(b"\0"):
            raise ArchiveError("The archive is damaged: there is something between its members")
        self._padding = 0

    def _parse(self) -> tarfile.TarInfo:
        try:
            extended = self._extended_headers()
            self._window.restrict(MAX_HEADER)
            info = tarfile.TarInfo.fromtarfile(self._tar)
            own_size = info.size
            if own_size < 0:
                raise refuse(info.name, "has an impossible size")
            self._apply(extended, info)
        except _BROKEN as error:
            raise ArchiveError("The archive is damaged: it has a header that makes no sense") from error
        if info.size < 0:
            raise refuse(info.name, "has an impossible size")
        if "size" in extended and info.size < EXTENDED_SIZE and info.size != own_size:
            raise refuse(info.name, "has two sizes")
        return info

    def _apply(self, records: dict[str, str], info: tarfile.TarInfo) -> None:
        try:
            pax.apply(records, info, sparse=self._sparse)
        except pax.PaxError as error:
            raise refuse(info.name, str(error)) from error

    def _extended_headers(self) -> dict[str, str]:
        """Return the extended headers before a member's own as pax records; of duplicates the last one counts."""
        records: dict[str, str] = {}
        names: dict[str, str] = {}
        while (kind := self._window.peek()[_TYPE]) in (*_EXTENDED, tarfile.XGLTYPE, *_LONG_NAMES):
            payload = self._payload()
            if kind in _LONG_NAMES:
                names[_LONG_NAMES[kind]] = payload.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            elif kind in _EXTENDED:
                records.update(_parse_pax(payload))
            elif set(_parse_pax(payload)) - {"comment"}:
                raise ArchiveError("The archive has a global header that changes its members")
        return {**names, **records}

    def _payload(self) -> bytes:
        size = tarfile.TarInfo.frombuf(self._window.read(BLOCK), "utf-8", "surrogateescape").size
        return self._window.read(size + -size % BLOCK if size > 0 else size)[:size]

    def _check_rest(self) -> None:
        while chunk := self._window.some(CHUNK):
            if bytes(chunk).strip(b"\0"):
                raise ArchiveError("The archive is damaged: there is something behind its end")


def _parse_pax(payload: bytes) -> dict[str, str]:
    try:
        return pax.parse(payload)
    except pax.PaxError as error:
        raise ArchiveError(f"The archive is damaged: it has {error}") from error

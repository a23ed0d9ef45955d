"""Sparse files in tar archives: GNU tar's sparse format 1.0 in the pax format.

A member's content begins with the map, decimal numbers with a newline after each: the number of data regions, then the
offset and length of each; it is padded to a whole block with zeros. The data regions follow. GNU tar, libarchive and
Python's `tarfile` read it (GNU tar's manual, "Sparse Formats").
"""

from __future__ import annotations

import errno
import heapq
import io
import os
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Final

RECORDS: Final = "GNU.sparse."
NAME: Final = f"{RECORDS}name"
SIZE: Final = f"{RECORDS}realsize"
FORMAT: Final = {f"{RECORDS}major": "1", f"{RECORDS}minor": "0"}
MAX_REGIONS: Final = 100_000
"""The most holes of one file: where there are more, the shortest are packed as zeros."""

Region = tuple[int, int]
"""Offset and length of a data region, in bytes; a last one of length 0 marks the end of the file."""

_BLOCK: Final = tarfile.BLOCKSIZE
_DISK_BLOCK: Final = 512
"""Bytes of a block in `st_blocks` (stat(3type))."""


def regions(descriptor: int, status: os.stat_result, start: int = 0) -> list[Region] | None:
    """Return the data regions of a regular file; None when it has no holes worth a map, or they cannot be determined.

    :param status: of the file when it was opened: data beyond that size is ignored.
    :param start: offset in bytes at which to begin.
    :raises OSError: it cannot be read.
    """
    size = status.st_size
    if status.st_blocks * _DISK_BLOCK >= size:
        return None
    found = _without(_longest_holes(parts(descriptor, size, start), start, size), start, size)
    os.lseek(descriptor, 0, os.SEEK_SET)
    # The file system compresses, or does not report holes.
    return None if found == [(start, size - start)] else found


def parts(descriptor: int, size: int, start: int = 0) -> Iterator[Region]:
    """Yield the data regions of a file; all of it where the system cannot tell.

    :param size: of the file in bytes: data beyond it is ignored.
    :param start: offset in bytes at which to begin.
    :raises OSError: it cannot be read.
    """
    end = start
    while end < size and (begin := _seek(descriptor, end, os.SEEK_DATA, size)) < size:
        hole = _seek(descriptor, begin, os.SEEK_HOLE, begin)
        if hole == begin:  # the file was truncated in the meantime
            break
        end = min(size, hole)
        yield begin, end - begin


def _longest_holes(data: Iterable[Region], start: int, size: int) -> list[Region]:
    """Return the holes before, between and after data regions, in order: the longest MAX_REGIONS, found in one pass."""
    lengths = (
        (after[0] - sum(before), sum(before)) for before, after in pairwise(chain([(start, 0)], data, [(size, 0)]))
    )
    longest = heapq.nlargest(MAX_REGIONS, (hole for hole in lengths if hole[0] > 0))
    return sorted((offset, length) for length, offset in longest)


def _without(holes: Iterable[Region], start: int, size: int) -> list[Region]:
    """Return the regions between holes; the last one ends where the file does."""
    found: list[Region] = []
    end = start
    for offset, length in holes:
        if offset > end:
            found.append((end, offset - end))
        end = offset + length
    return [*found, (end, size - end)]


def _seek(descriptor: int, offset: int, what: int, otherwise: int) -> int:
    try:
        return os.lseek(descriptor, offset, what)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data after the offset
            return otherwise
        if error.errno in (errno.EINVAL, errno.ENOTSUP):
            return offset if what == os.SEEK_DATA else 1 << 62
        raise


def records(name: str, size: int) -> dict[str, bytes]:
    """Return the records of a member's extended header.

    :param name: of the file; the member itself has `member_name`.
    :param size: of the file with its holes, in bytes.
    """
    return {**{key: value.encode() for key, value in FORMAT.items()}, NAME: os.fsencode(name), SIZE: b"%d" % size}


def member_name(name: str) -> str:
    """Return the name for the member's own header, which keeps tools without sparse support off the real path."""
    return posixpath.join(posixpath.dirname(name), "GNUSparseFile.0", posixpath.basename(name))


class Content(io.RawIOBase):
    """The content of a member: the map and the data regions; its length stays the same if the file is truncated.

    :param descriptor: of the file; it stays open, and its position does not matter.
    :param start: offset in bytes at which the member begins in the file.
    """

    def __init__(self, descriptor: int, parts: Sequence[Region], start: int = 0) -> None:
        self._descriptor = descriptor
        numbers = (len(parts), *(number for offset, length in parts for number in (offset - start, length)))
        text = b"".join(b"%d\n" % number for number in numbers)
        self._map = memoryview(text + bytes(-len(text) % _BLOCK))
        self._parts = iter(parts)
        self._offset = self._left = 0
        self.size = len(self._map) + sum(length for _, length in parts)
        """Total size in bytes."""
        self.became_shorter = False
        """Whether the file was truncated in the meantime; zeros took the place of missing data."""

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer only at the end; -1 for all."""
        wanted = self.size if size < 0 else size
        read = bytearray()
        while len(read) < wanted and (piece := self._piece(wanted - len(read))):
            read += piece
        return bytes(read)

    def _piece(self, size: int) -> bytes:
        if self._map:
            piece, self._map = bytes(self._map[:size]), self._map[size:]
            return piece
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._offset, self._left = part
        wanted = min(size, self._left)
        piece = os.pread(self._descriptor, wanted, self._offset)
        if not piece:
            self.became_shorter = True
            piece = bytes(wanted)
        self._offset += len(piece)
        self._left -= len(piece)
        return piece

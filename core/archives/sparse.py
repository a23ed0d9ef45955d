"""Unpacking sparse files with their holes (see `hookspecs.sparse_files`)."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator

from jidoteki.core.archives.tar import refuse
from jidoteki.hookspecs import sparse_files

_NUMBER = re.compile(rb"[0-9]{1,20}")
_MAX_DIGITS = 20
_MAP = "has a map of its holes that makes no sense"


def unpack(
    info: tarfile.TarInfo, data: Iterator[memoryview], descriptor: int, write: Callable[[int, memoryview], None]
) -> None:
    """Write the content of a member into a new, empty file.

    :param write: writes a chunk at the descriptor's position; a short one takes a disk block, too.
    :raises ArchiveError: its map is invalid.
    :raises OSError: it cannot be written.
    """
    stream = _Stream(data)
    size = int(info.pax_headers[sparse_files.SIZE])
    end = 0
    for offset, length in _regions(info, stream):
        if offset < end or offset + length > size:
            raise refuse(info.name, _MAP)
        os.lseek(descriptor, offset, os.SEEK_SET)
        while length:
            chunk = stream.some(length)
            if not chunk:
                raise refuse(info.name, _MAP)
            write(descriptor, chunk)
            length -= len(chunk)
            offset += len(chunk)
        end = offset
    if stream.some(1):
        raise refuse(info.name, _MAP)
    os.ftruncate(descriptor, size)


class _Stream:
    """The content of a member, read in pieces of any size."""

    def __init__(self, data: Iterator[memoryview]) -> None:
        self._data = data
        self._chunk = memoryview(b"")

    def some(self, limit: int) -> memoryview:
        """Return from 1 to `limit` bytes; empty at the end."""
        if not self._chunk:
            self._chunk = next(self._data, memoryview(b""))
        taken, self._chunk = self._chunk[:limit], self._chunk[limit:]
        return taken

    def block(self) -> bytes:
        """Return a block; less only at the end."""
        block = b""
        while len(block) < tarfile.BLOCKSIZE and (more := self.some(tarfile.BLOCKSIZE - len(block))):
            block += more
        return block


def _regions(info: tarfile.TarInfo, stream: _Stream) -> list[sparse_files.Region]:
    numbers = _numbers(info, stream)
    count = next(numbers)
    if count > sparse_files.MAX_REGIONS + 2:
        raise refuse(info.name, f"has more than {sparse_files.MAX_REGIONS} holes")
    return [(next(numbers), next(numbers)) for _ in range(count)]


def _numbers(info: tarfile.TarInfo, stream: _Stream) -> Iterator[int]:
    """Yield the numbers of the map, which is read in whole blocks as needed."""
    rest = b""
    while True:
        if b"\n" not in rest and len(rest) <= _MAX_DIGITS:
            rest += stream.block()
        line, newline, rest = rest.partition(b"\n")
        if not (newline and _NUMBER.fullmatch(line)):
            raise refuse(info.name, _MAP)
        yield int(line)

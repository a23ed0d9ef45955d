"""Writing the archive: size and SHA-256 are known the moment the last byte is written, without a second pass."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

from jidoteki.hookspecs.restorable import can_restore
from jidoteki.plugins.backup import headers
from jidoteki.plugins.backup.selection import Found, Note, Tree
from jidoteki.plugins.backup.sink import CHUNK, Packed, Sink

SMALL = 64 * 1024
END = bytes(2 * tarfile.BLOCKSIZE)
_PADDINGS = [bytes(-size % tarfile.BLOCKSIZE) for size in range(tarfile.BLOCKSIZE)]

Progress = Callable[[int], None]


class TooBig(Exception):
    """The archive would leave too little space."""


def estimated(tree: Tree, progress: Progress) -> int:
    """How long the archive of a tree will about be, in bytes.

    :param progress: told of the bytes found, often; what it raises ends it.
    """
    total = len(END)
    for found in tree:
        total += headers.SIZE
        if found.is_file:
            try:
                size = os.stat(found.base, dir_fd=found.parent, follow_symlinks=False).st_size
            except OSError:
                continue
            total += size + -size % tarfile.BLOCKSIZE
        progress(total)
    return total


def pack(tree: Tree, sink: Sink, limit: int, data: Path, note: Note, progress: Progress) -> Packed:
    """Write a tree as an archive.

    :param limit: bytes that the archive may have.
    :param data: the data directory, to which and below absolute symbolic links may lead.
    :param progress: told of the bytes written, often; what it raises ends the packing.
    :raises TooBig: the limit is reached.
    :raises OSError: the archive cannot be written.
    """
    packer = _Packer(tree, sink, limit - len(END) - tarfile.RECORDSIZE, data, note, progress)
    for found in tree:
        if found.is_file:
            packer.add_file(found)
        else:
            packer.add_other(found)
    sink.write(END)
    sink.write(bytes(-sink.size % tarfile.RECORDSIZE))
    return sink.finish()


class _Packer:
    """Adds members to an archive."""

    def __init__(self, tree: Tree, sink: Sink, limit: int, data: Path, note: Note, progress: Progress) -> None:
        self._tree = tree
        self._sink = sink
        self._limit = limit
        self._data = data
        self._note = note
        self._progress = progress

    def add_file(self, found: Found) -> None:
        """Add a regular file, as it is once it is open."""
        try:
            descriptor = os.open(
                found.base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found.parent
            )
        except OSError as error:
            self._leave_out(found, error)
            return
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._note(f"{found.name} is left out: it is no file any more")
                return
            header = headers.plain(found.name, status) or self._header(found, status)
            if header is not None:
                self._add_content(found, descriptor, header, status.st_size)
        finally:
            os.close(descriptor)

    def add_other(self, found: Found) -> None:
        """Add a directory or a symbolic link; what is neither is left out, and so is what lies below it."""
        try:
            status = os.stat(found.base, dir_fd=found.parent, follow_symlinks=False)
            link = os.readlink(found.base, dir_fd=found.parent) if stat.S_ISLNK(status.st_mode) else ""
        except OSError as error:
            self._leave_out(found, error)
            return
        header = self._header(found, status, link)
        if header is None:
            self._tree.skip()
        else:
            self._check_room(len(header))
            self._sink.write(header)
            self._progress(self._sink.size)

    def _leave_out(self, found: Found, error: OSError) -> None:
        self._note(f"{found.name} is left out: {error.strerror}")
        self._tree.skip()

    def _header(self, found: Found, status: os.stat_result, link: str = "") -> bytes | None:
        """The header of a member, or None when it could not be restored."""
        info = headers.describe(found.name, status, link)
        if info.isreg() and info.mode & 0o6000:
            self._note(f"{found.name} loses its set-user-id and set-group-id bits")
            info.mode &= 0o1777
        reason = can_restore(found.name, info, self._data)
        if reason:
            self._note(f"{found.name} is left out: it {reason}")
            return None
        return headers.header(info)

    def _check_room(self, size: int) -> None:
        if self._sink.size + size > self._limit:
            raise TooBig

    def _add_content(self, found: Found, descriptor: int, header: bytes, size: int) -> None:
        """Add as many bytes as the header says: a file may grow or shrink meanwhile."""
        padding = _PADDINGS[size % tarfile.BLOCKSIZE]
        self._check_room(len(header) + size + len(padding))
        left = size
        if size <= SMALL:
            content = self._read(found, descriptor, size)
            if len(content) == size:
                self._sink.write(b"".join((header, content, padding)))
                self._progress(self._sink.size)
                return
            header, left = header + content, size - len(content)
        self._sink.write(header)
        self._add_chunks(found, descriptor, left)
        self._sink.write(padding)

    def _add_chunks(self, found: Found, descriptor: int, left: int) -> None:
        ended = False
        while left:
            chunk = b"" if ended else self._read(found, descriptor, min(CHUNK, left))
            if not (chunk or ended):
                self._note(f"{found.name} became shorter while it was read and is filled up with zeros")
                ended = True
            chunk = chunk or bytes(min(CHUNK, left))
            self._sink.write(chunk)
            left -= len(chunk)
            self._progress(self._sink.size)

    @staticmethod
    def _read(found: Found, descriptor: int, size: int) -> bytes:
        try:
            return os.read(descriptor, size)
        except OSError as error:
            raise OSError(error.errno, f"{found.name} cannot be read: {error.strerror}") from error

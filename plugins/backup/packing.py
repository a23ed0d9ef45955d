"""Writing the archive in one pass, which yields its size and SHA-256, too."""

from __future__ import annotations

import errno
import os
import stat
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from jidoteki.hookspecs import sparse_files
from jidoteki.hookspecs.mounts import mounts_below
from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.hookspecs.restorable import LEFT_OUT, can_restore
from jidoteki.plugins.backup import believing, headers
from jidoteki.plugins.backup.archive_file import CHUNK, Packed, Sink
from jidoteki.plugins.backup.attributes import Attributes
from jidoteki.plugins.backup.descriptors import closing
from jidoteki.plugins.backup.hard_links import SecondNames
from jidoteki.plugins.backup.selection import CHANGED, Files, Note, Other, Tree
from jidoteki.plugins.backup.sizes import BLOCK
from jidoteki.plugins.backup.unseen_owners import UnseenOwners

SMALL = 64 * 1024
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SET_ID = stat.S_ISUID | stat.S_ISGID
END = bytes(2 * tarfile.BLOCKSIZE)
SHORTER = "{} became shorter while it was read and is filled up with zeros"
_PADDINGS = [bytes(-size % tarfile.BLOCKSIZE) for size in range(tarfile.BLOCKSIZE)]

Progress = Callable[[int], None]


class TooBigError(Exception):
    """An archive that would leave too little space free."""


class EmptyArchiveError(Exception):
    """An archive without members."""


def estimated(tree: Tree) -> int:
    """Return the approximate size of the archive of a tree, in bytes."""
    total = len(END)
    second_names = SecondNames(mounts_below(tree.data))
    for found in tree:
        total += headers.SIZE if isinstance(found, Other) else _size(found, second_names)
    return total


def _size(files: Files, second_names: SecondNames) -> int:
    total = 0
    for name in files.names:
        try:
            status = os.stat(name, dir_fd=files.parent, follow_symlinks=False)
        except OSError:
            continue
        size = status.st_size
        if status.st_nlink > 1 and second_names.first(files.prefix + name, status):
            size = 0
        elif max(SMALL, status.st_blocks * BLOCK) < size:
            size = _size_without_holes(name, files.parent, size)
        total += headers.SIZE + size + -size % tarfile.BLOCKSIZE
    return total


def _size_without_holes(name: str, parent: int, size: int) -> int:
    """Return how many bytes of a file are packed, including zeros for surplus holes."""
    with suppress(OSError), closing(os.open(name, FILE, dir_fd=parent)) as descriptor:
        regions = sparse_files.regions(descriptor, os.fstat(descriptor))
        if regions is not None:
            return sparse_files.Content(descriptor, regions).size
    return size


def pack(tree: Tree, sink: Sink, limit: int, note: Note, progress: Progress) -> Packed:
    """Write a tree as an archive; if paths were lost, their list is its last member.

    :param limit: largest size of the archive in bytes.
    :param progress: called often with the bytes written; an exception that it raises ends the packing.
    :raises TooBigError: the limit is reached.
    :raises EmptyArchiveError: it would have no member.
    :raises OSError: the archive cannot be written.
    """
    packer = _Packer(sink, limit - len(END) - tarfile.RECORDSIZE, tree.data, note, progress)
    for found in tree:
        if isinstance(found, Files):
            packer.add_files(found)
        elif not packer.add_other(found):
            tree.skip()
        progress(sink.size)
    if not sink.size:
        raise EmptyArchiveError
    packer.add_list(note.listing())
    sink.write(END)
    sink.write(bytes(-sink.size % tarfile.RECORDSIZE))
    return sink.finish()


class _Packer:
    """A writer of archive members."""

    def __init__(self, sink: Sink, limit: int, data: Path, note: Note, progress: Progress) -> None:
        self._sink = sink
        self._limit = limit
        self._data = data
        self._note = note
        self._attributes = Attributes(note)
        self._unseen = UnseenOwners()
        self._progress = progress
        self._second_names = SecondNames(mounts_below(data))

    def add_files(self, files: Files) -> None:
        """Add regular files, with the status that each has when it is open."""
        prefix, parent, names, within = files
        for base in names:
            try:
                with believing.reading(within):
                    descriptor = os.open(base, FILE, dir_fd=parent)
            except OSError as error:
                if error.errno == errno.ELOOP:  # it was replaced by a symbolic link
                    self.add_other(Other(prefix + base, parent, base, within))
                else:
                    self._unread(prefix + base, error)
                continue
            try:
                self._add_file(prefix + base, descriptor)
            except OSError as error:
                message = f"{prefix}{base} cannot be packed: {error.strerror}"
                raise OSError(error.errno, message, error.filename) from error
            finally:
                os.close(descriptor)

    def _add_file(self, name: str, descriptor: int) -> None:
        status = os.fstat(descriptor)
        size = status.st_size
        if self._is_nobodys(name, status):
            return
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode) and self._add_second_name(name, status):
            return
        more = self._attributes.of(descriptor, name)
        if size > SMALL and stat.S_ISREG(status.st_mode):
            regions = sparse_files.regions(descriptor, status)
            if regions is not None:
                self._add_sparse(name, status, more, sparse_files.Content(descriptor, regions))
                return
        header = None if more else headers.plain(name, status)
        if header is None:
            if not stat.S_ISREG(status.st_mode):
                self._note.lost(name, "it changed meanwhile")
                return
            header = self._header(name, status, more)
            if header is None:
                return
        padding = _PADDINGS[size % tarfile.BLOCKSIZE]
        self._check_room(len(header) + size + len(padding))
        content = os.read(descriptor, size) if size <= SMALL else b""
        self._sink.write(b"".join((header, content, padding) if len(content) == size else (header, content)))
        if len(content) < size:
            self._add_chunks(name, descriptor, size - len(content))
            self._sink.write(padding)

    def _add_second_name(self, name: str, status: os.stat_result) -> bool:
        """Add a further name of a file as a link to the first; False when it is the first, or its content is due."""
        info = headers.describe(name, status)
        info.mode &= ~SET_ID
        # An odd name may come back only from an archive of this appliance's own: none is linked to, whoever reads it.
        if can_restore(name, info, self._data) or not (first := self._second_names.first(name, status)):
            return False
        info.type, info.size, info.linkname = tarfile.LNKTYPE, 0, first
        header = headers.header(info)
        self._check_room(len(header))
        self._sink.write(header)
        return True

    def _add_sparse(
        self, name: str, status: os.stat_result, more: Mapping[str, bytes], content: sparse_files.Content
    ) -> None:
        """Add a sparse file without its holes."""
        info = self._described(name, status)
        if info is None:
            return
        info.name, info.size = sparse_files.member_name(name), content.size
        header = headers.header(info, {**more, **sparse_files.records(name, status.st_size)})
        padding = _PADDINGS[content.size % tarfile.BLOCKSIZE]
        self._check_room(len(header) + content.size + len(padding))
        self._sink.write(header)
        while chunk := content.read(CHUNK):
            self._sink.write(chunk)
            self._progress(self._sink.size)
        self._sink.write(padding)
        if content.became_shorter:
            self._note(SHORTER.format(name))

    def _add_chunks(self, name: str, descriptor: int, left: int) -> None:
        """Add as many bytes as the header says, even if the file grows or shrinks."""
        ended = False
        while left:
            chunk = b"" if ended else os.read(descriptor, min(CHUNK, left))
            if not (chunk or ended):
                self._note(SHORTER.format(name))
                ended = True
            chunk = chunk or bytes(min(CHUNK, left))
            self._sink.write(chunk)
            left -= len(chunk)
            self._progress(self._sink.size)

    def add_other(self, other: Other) -> bool:
        """Add a directory or a symbolic link; return False when it is left out."""
        try:
            with ExitStack() as opened:
                header = self._other_header(other, opened)
        except OSError as error:
            self._unread(other.name, error)
            return False
        if header is None:
            return False
        self._check_room(len(header))
        self._sink.write(header)
        return True

    def _other_header(self, other: Other, opened: ExitStack) -> bytes | None:
        name, parent, base, within = other
        status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            self._note.lost(name, "it changed meanwhile")
            return None
        if self._is_nobodys(name, status):
            return None
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            kind = "a named pipe" if stat.S_ISFIFO(status.st_mode) else "a socket"
            self._note(f"{name} is left out: it is {kind}, which holds nothing")
            return None
        if not stat.S_ISDIR(status.st_mode):
            link = os.readlink(base, dir_fd=parent) if stat.S_ISLNK(status.st_mode) else ""
            return self._header(name, status, {}, link)
        try:
            with believing.reading(within):
                descriptor = os.open(base, DIRECTORY, dir_fd=parent)
        except PermissionError:
            return self._header(name, status, {})
        opened.callback(os.close, descriptor)
        return self._header(name, os.fstat(descriptor), self._attributes.of(descriptor, name))

    def _header(self, name: str, status: os.stat_result, more: Mapping[str, bytes], link: str = "") -> bytes | None:
        """Return the headers of a member; None when it could not be restored."""
        info = self._described(name, status, link)
        return headers.header(info, more) if info else None

    def _described(self, name: str, status: os.stat_result, link: str = "") -> tarfile.TarInfo | None:
        """Return the description of a member; None when it could not be restored."""
        info = headers.describe(name, status, link)
        if info.isreg() and info.mode & SET_ID:
            self._note(f"{name} loses its set-user-id and set-group-id bits")
            info.mode &= 0o1777
        reason = can_restore(name, info, self._data, own=True)
        if reason:
            self._note.lost(name, f"it {reason}")
            return None
        return info

    def add_list(self, content: bytes) -> None:
        """Add the list of lost paths, unless it is empty."""
        if not content:
            return
        info = tarfile.TarInfo(LEFT_OUT)
        info.mode, info.size, info.mtime = 0o600, len(content), int(time.time())
        info.uid, info.gid = os.geteuid(), os.getegid()
        padding = _PADDINGS[len(content) % tarfile.BLOCKSIZE]
        self._check_room(tarfile.BLOCKSIZE + len(content) + len(padding))
        self._sink.write(b"".join((headers.header(info), content, padding)))

    def _is_nobodys(self, name: str, status: os.stat_result) -> bool:
        """Return whether it is lost, as nobody knows whom it belongs to."""
        if not self._unseen.hide(status):
            return False
        self._note.lost(name, "whom it belongs to cannot be seen in this user namespace")
        return True

    def _unread(self, name: str, error: OSError) -> None:
        if error.errno in CHANGED:
            self._note(f"{name} is left out: {error.strerror}")
        else:
            self._note.lost(name, f"it cannot be read: {error.strerror}")

    def _check_room(self, size: int) -> None:
        if self._sink.size + size > self._limit:
            raise TooBigError

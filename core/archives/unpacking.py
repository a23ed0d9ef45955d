"""Unpacking archives safely: every member is checked, and nothing is written outside the target.

Members are created through descriptors of directories that this module created, never by a path, so that no link in
the archive is ever followed.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from jidoteki.core import files
from jidoteki.core.archives import links, metadata, rules, sparse
from jidoteki.core.archives.directories import Directories
from jidoteki.core.archives.metadata import Attributes, Notes
from jidoteki.core.archives.names import Names
from jidoteki.core.archives.policy import Policy
from jidoteki.core.archives.postponed import Postponed
from jidoteki.core.archives.space import SMALLEST_ON_DISK, Space
from jidoteki.core.archives.tar import ArchiveError, Source, TarReader, refuse
from jidoteki.hookspecs import file_attributes, sparse_files
from jidoteki.hookspecs.free_space import FULL
from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.hookspecs.restorable import parts

__all__ = ["ArchiveError", "Policy", "Summary", "unpack"]

COPIED_AT_ONCE = 1024 * 1024
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Summary:
    """The result of unpacking."""

    members: int = 0
    size: int = 0
    """Total size of all files in bytes."""


def unpack(source: Source, into: Path | int, policy: Policy) -> Summary:
    """Unpack an uncompressed tar archive into an empty directory that nobody else writes to.

    :param source: the archive; it is read once, to its end.
    :param into: the directory or a descriptor of it, which stays open.
    :raises ArchiveError: the archive is damaged or holds a refused member; `into` is then incomplete.
    :raises OSError: the disk is full, or the like.
    """
    reader = TarReader(source, policy.max_header, sparse=policy.keep)
    with _Tree(into, policy) as tree:
        while (info := reader.next()) is not None:
            tree.add(info, reader.data())
        tree.finish()
        return tree.summary


class _Tree:
    """The directory that an archive is unpacked into."""

    def __init__(self, into: Path | int, policy: Policy) -> None:
        self._policy = policy
        root = os.open(".", DIRECTORY, dir_fd=into) if isinstance(into, int) else os.open(into, DIRECTORY)
        self._directories = Directories(root, policy.keep, policy.elsewhere)
        self._later = Postponed(root)
        self._owner = policy.keep and (policy.true_owners or os.geteuid() == 0)
        self._notes = Notes(policy.note)
        self._space = Space(root, policy.free_space)
        self.summary = Summary()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._directories.close()
        self._later.close()

    def add(self, info: tarfile.TarInfo, data: Iterator[memoryview]) -> None:
        """Create one member."""
        self._policy.checkpoint()
        self._count(info)
        self._check(info)
        if info.isfifo():  # a running program's: it has no content to restore
            self._notes.add(info.name, "is left out: it is a named pipe")
            return
        more = self._attributes(info)
        try:
            self._create(info, parts(info.name), data, more)
        except FileExistsError as error:
            raise refuse(info.name, "comes twice") from error
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise refuse(info.name, "lies below something that is not a directory") from error
            if error.errno in FULL and self._directories.top != self._directories.root:
                raise refuse(info.name, "finds no room on the file system that is mounted where it belongs") from error
            if error.errno == errno.ENAMETOOLONG:
                raise refuse(info.name, "has a name that is too long for the file system") from error
            raise OSError(error.errno, error.strerror or str(error), info.name) from error

    def _check(self, info: tarfile.TarInfo) -> None:
        rules.check(info, self._policy.links_below, backup=self._policy.keep, own=self._policy.own)

    def finish(self) -> None:
        """Set owners, modes and times of the directories, deepest first.

        Of duplicate members the last one counts, as with tar.
        """
        done = Names()
        for name, mode, uid, gid, time, more in self._later.last_first():
            self._policy.checkpoint()
            if not done.add(name):
                continue
            attributes = metadata.attributes(more)
            try:
                directory = self._directories.enter(parts(name))
                self._set_metadata(name or ".", directory, mode, (uid, gid), time, attributes)
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), name or ".") from error
        self._notes.end()

    def _attributes(self, info: tarfile.TarInfo) -> Attributes:
        if not self._policy.keep or info.issym() or info.islnk():
            return metadata.NONE
        try:
            return metadata.attributes(metadata.relevant(info.pax_headers))
        except ValueError as error:
            raise refuse(info.name, str(error)) from error

    def _count(self, info: tarfile.TarInfo) -> None:
        self.summary.members += 1
        if self.summary.members > self._policy.max_members:
            raise ArchiveError(f"The archive has more than the {self._policy.max_members} members that are allowed")
        self._count_bytes(info.size)

    def _count_bytes(self, size: int) -> None:
        self.summary.size += size
        if self.summary.size > self._policy.max_size:
            raise ArchiveError(f"The archive unpacks to more than the {self._policy.max_size} bytes that are allowed")

    def _create(self, info: tarfile.TarInfo, names: list[str], data: Iterator[memoryview], more: Attributes) -> None:
        parent = self._directories.enter(names if info.isdir() else names[:-1])
        self._space.use(info.name, self._directories.top, SMALLEST_ON_DISK + more.size, info.size)
        if info.isdir():
            self._directory(info, names, parent)
            return
        copy = partial(self._copy, info, names[-1], parent)
        link = links.link(info, self._directories, parent, copy) if info.islnk() else info
        if link is None:
            return
        if link.issym():
            if link is not info:
                self._check(link)
            self._link(link, names[-1], parent)
        else:
            self._file(info, names[-1], parent, data, more)

    def _directory(self, info: tarfile.TarInfo, names: list[str], descriptor: int) -> None:
        if self._policy.keep:
            more = metadata.relevant(info.pax_headers)
            self._later.add(["/".join(names), info.mode & 0o7777, info.uid, info.gid, _nanoseconds(info), more])
        elif names:
            os.fchmod(descriptor, info.mode & 0o777 & ~self._policy.umask | 0o700)

    def _file(
        self, info: tarfile.TarInfo, name: str, parent: int, data: Iterator[memoryview], more: Attributes
    ) -> None:
        descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=parent)
        try:
            if info.issparse():
                sparse.unpack(info, data, descriptor, partial(self._write, info.name, blocks=1))
            for chunk in data:
                self._write(info.name, descriptor, chunk)
            policy = self._policy
            mode = info.mode & 0o7777 if policy.keep else info.mode & 0o777 & ~policy.umask | 0o600
            self._set_metadata(info.name, descriptor, mode, (info.uid, info.gid), _nanoseconds(info), more)
        finally:
            os.close(descriptor)

    def _copy(self, info: tarfile.TarInfo, name: str, parent: int, source: int) -> None:
        """Copy a file in place of a hard link to it."""
        status = os.fstat(source)
        self._count_bytes(status.st_size)
        descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=parent)
        try:
            for offset, length in sparse_files.parts(source, status.st_size):
                os.lseek(descriptor, offset, os.SEEK_SET)
                for at in range(offset, offset + length, COPIED_AT_ONCE):
                    chunk = os.pread(source, min(COPIED_AT_ONCE, offset + length - at), at)
                    self._write(info.name, descriptor, memoryview(chunk))
            os.ftruncate(descriptor, status.st_size)
            owner, mode = (status.st_uid, status.st_gid), stat.S_IMODE(status.st_mode)
            self._set_metadata(info.name, descriptor, mode, owner, status.st_mtime_ns, metadata.of(source))
        finally:
            os.close(descriptor)

    def _write(self, name: str, descriptor: int, chunk: memoryview, blocks: int = 0) -> None:
        self._policy.checkpoint()
        self._space.use(name, self._directories.top, len(chunk), blocks=blocks)
        files.write_all(descriptor, chunk)

    def _link(self, info: tarfile.TarInfo, name: str, parent: int) -> None:
        os.symlink(info.linkname, name, dir_fd=parent)
        if self._policy.keep:
            owner = info.uid, info.gid
            if self._owner and (reason := file_attributes.give_owner(name, *owner, parent)):
                self._lose_owner(info.name, owner, reason)
            time = _nanoseconds(info)
            os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)

    def _set_metadata(
        self, name: str, descriptor: int, mode: int, owner: tuple[int, int], time: int, more: Attributes
    ) -> None:
        given = owner if self._owner else None
        tell, lost = partial(self._notes.add, name), partial(self._lose_owner, name)
        metadata.give(descriptor, mode, given, time, more, tell, lost)

    def _lose_owner(self, name: str, owner: metadata.Owner, reason: str) -> None:
        user, group = owner
        if self._policy.true_owners:
            raise refuse(name, f"belongs to {user}:{group}, which cannot be set here: {reason}")
        self._notes.add(name, f"its owner {user}:{group} cannot be set, so it belongs to the service's user: {reason}")


def _nanoseconds(info: tarfile.TarInfo) -> int:
    """Return the modification time of a member with the archive's full precision."""
    return math.floor(Decimal(info.pax_headers.get("mtime", info.mtime)) * 10**9)

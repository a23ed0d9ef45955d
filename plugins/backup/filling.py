"""Writing into a single file that is mounted below the data, as containers have them: nothing can take its place.

Or into one that is mounted elsewhere, too, where what takes its place would not be seen.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import signal
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import file_attributes, posix_acl, sparse_files
from jidoteki.hookspecs.paths import open_regular
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import owners
from jidoteki.plugins.backup.descriptors import closing, is_there
from jidoteki.plugins.backup.room import Room
from jidoteki.plugins.backup.sizes import BLOCK

_SAVING: Final = f"{RESERVED}saving"
_CHUNK: Final = 1024 * 1024
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PUNCH_HOLE: Final = 0x3
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE (fallocate(2))."""
_LIBC: Final = ctypes.CDLL(None)
_FALLOCATE: Final = getattr(_LIBC, "fallocate64", None) or _LIBC.fallocate
_FALLOCATE.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_MOUNT: Final = re.compile(r"^mnt_id:\s*(\d+)$", re.MULTILINE)


def check(name: str, place: int, source: int, is_mounted: bool, room: Room) -> None:
    """Make sure that a file can be written that is mounted in a directory, and that there is room for what it has, too.

    :param source: descriptor of the directory where one of the same name has what is to be written.
    :param is_mounted: whether it is; else it lies there, and is mounted elsewhere.
    :raises OSError: it cannot.
    """
    coming = os.stat(name, dir_fd=source, follow_symlinks=False)
    with _opened(name, place, None if is_mounted else coming.st_uid) as target:
        there = os.fstat(target).st_blocks * BLOCK
        room.take(source, there, "what is in it is kept meanwhile, which")
        room.take(target, coming.st_blocks * BLOCK - there, "what comes")


def save(name: str, place: int, old: int) -> None:
    """Keep a copy of it, durably, unless there is one.

    :param old: descriptor of the directory that the copy has the same name in.
    :raises OSError: that is impossible.
    """
    if is_there(name, old):
        return
    with closing(open_regular(name, dir_fd=place)) as source:
        with closing(os.open(_SAVING, _NEW_FILE, 0o600, dir_fd=old)) as target:
            _copy(source, target)
    os.rename(_SAVING, name, src_dir_fd=old, dst_dir_fd=old)


def fill(name: str, place: int, source: int, is_mounted: bool, back: bool = False) -> None:
    """Write what a file of the same name holds into it, durably; what is interrupted can be done again.

    :param source: descriptor of the directory that the other file is in.
    :param is_mounted: as for `check`.
    :param back: whether it is what was in it before, which is written whoever has it open.
    :raises OSError: that is impossible, or it is not mounted any more.
    """
    with closing(open_regular(name, dir_fd=source)) as content:
        with _opened(name, place, None if is_mounted else os.fstat(content).st_uid) as target:
            owner = os.fstat(target).st_uid
            _close(target, os.fstat(content), owners.lists(content))
            if not back and owner not in (os.fstat(content).st_uid, os.geteuid(), 0) and _is_open_elsewhere(target):
                raise OSError(errno.EBUSY, f"user {owner} owns {name}, and it is open")
            _copy(content, target)


@contextmanager
def _opened(name: str, place: int, owner: int | None) -> Iterator[int]:
    """Open it for writing: a file that is not mounted may be a second name that somebody gave to any other.

    :param owner: of one that is not mounted; somebody else may have it open to read what is written.
    """
    with closing(os.open(name, _WRITE, dir_fd=place)) as descriptor:
        status = os.fstat(descriptor)
        is_mounted = _mount(descriptor) != _mount(place)
        if not stat.S_ISREG(status.st_mode) or is_mounted != (owner is None):
            raise OSError(errno.EINVAL, "it is no file of its own file system" if owner is None else "it is no file")
        if owner is not None and (status.st_nlink, status.st_uid) != (1, owner):
            raise OSError(errno.EPERM, "it has several names, or another owner than in the archive")
        yield descriptor


def _mount(descriptor: int) -> str:
    """The number of the mount that something is in (proc_pid_fdinfo(5))."""
    found = _MOUNT.search(Path(f"/proc/self/fdinfo/{descriptor}").read_text())
    return found[1] if found else ""


def _copy(source: int, target: int) -> None:
    status = os.fstat(source)
    parts = sparse_files.regions(source, status) or [(0, status.st_size)]
    before = _reserve(target, parts, status.st_size)
    for offset, length in parts:
        _copy_part(source, target, offset, offset + length)
    _clear(target, parts, before)
    os.ftruncate(target, status.st_size)
    file_attributes.give_owner(target, status.st_uid, status.st_gid)
    with suppress(PermissionError):  # of a file system that knows no modes
        os.fchmod(target, stat.S_IMODE(status.st_mode))
    _give_lists(target, status.st_mode, owners.lists(source))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.fsync(target)


def _close(target: int, wanted: os.stat_result, lists: Mapping[str, bytes]) -> None:
    """Shut out whom the new content does not let in, before it is written."""
    own = os.fstat(target)
    if (own.st_uid, own.st_gid) == (wanted.st_uid, wanted.st_gid) and owners.lists(target) == lists:
        with suppress(PermissionError):
            os.fchmod(target, stat.S_IMODE(own.st_mode & wanted.st_mode))
        return
    with suppress(PermissionError):
        owners.close(target, 0o600)


def _is_open_elsewhere(descriptor: int) -> bool:
    """Whether anybody else has a file open: then there is no lease on it (fcntl(2)); not every file system knows."""
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # which ends no process, should somebody open it now
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _give_lists(target: int, mode: int, lists: Mapping[str, bytes]) -> None:
    """Give a file access control lists; where it cannot have them, nobody gets more than they allow."""
    for name, value in lists.items():
        try:
            os.setxattr(target, name, value)
        except OSError:
            os.fchmod(target, posix_acl.narrowed(stat.S_IMODE(mode), posix_acl.from_xattr(value)))


def _reserve(target: int, parts: Sequence[sparse_files.Region], size: int) -> int:
    """Make sure that there is room for all, before anything of what is there is gone; how long the file was before.

    :raises OSError: there is none, and the file holds what it held.
    """
    before = os.fstat(target).st_size
    try:
        _allocate(target, parts)
        os.ftruncate(target, max(before, size))
    except OSError:
        os.ftruncate(target, before)
        raise
    return before


def _allocate(target: int, parts: Sequence[sparse_files.Region]) -> None:
    try:
        for offset, length in parts:
            if length:
                os.posix_fallocate(target, offset, length)
    except OSError as error:
        if error.errno in _NO_ROOM:  # else the file system cannot say so before
            raise


def _clear(target: int, parts: Sequence[sparse_files.Region], size: int) -> None:
    """Make holes of what a file had between the parts that are data now.

    :param size: of the file before.
    """
    end = 0
    for offset, length in parts:
        stop = min(offset, size)
        if stop > end and _FALLOCATE(target, _PUNCH_HOLE, end, stop - end):
            for start, old in sparse_files.parts(target, stop, end):  # there are no holes on this file system
                for at in range(start, start + old, _CHUNK):
                    os.pwrite(target, bytes(min(_CHUNK, start + old - at)), at)
        end = offset + length


def _copy_part(source: int, target: int, offset: int, end: int) -> None:
    while offset < end and (content := os.pread(source, min(_CHUNK, end - offset), offset)):
        view = memoryview(content)
        while view:
            written = os.pwrite(target, view, offset)
            view, offset = view[written:], offset + written

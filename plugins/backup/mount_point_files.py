"""Writing into a file that is a mount point below the data, as in containers: nothing can be renamed over it.

Or into one that is also bind-mounted elsewhere, where a replacement would not be seen.
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
from jidoteki.hookspecs.free_space import FULL
from jidoteki.hookspecs.paths import open_regular
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import owners
from jidoteki.plugins.backup.descriptors import closing, exists
from jidoteki.plugins.backup.restore_space import Room
from jidoteki.plugins.backup.sizes import BLOCK

_SAVING: Final = f"{RESERVED}saving"
_CHUNK: Final = 1024 * 1024
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_ROOM: Final = (*FULL, errno.EFBIG)
_PUNCH_HOLE: Final = 0x3
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE (fallocate(2))."""
_LIBC: Final = ctypes.CDLL(None)
_FALLOCATE: Final = getattr(_LIBC, "fallocate64", None) or _LIBC.fallocate
_FALLOCATE.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_MOUNT: Final = re.compile(r"^mnt_id:\s*(\d+)$", re.MULTILINE)


def check(name: str, place: int, source: int, is_mounted: bool, room: Room) -> None:
    """Check that a mounted file can be written, and that there is space for a copy of its content, too.

    :param source: descriptor of the directory with the new content, in a file of the same name.
    :param is_mounted: whether it is itself a mount point; else it is mounted elsewhere.
    :raises OSError: it cannot be written.
    """
    coming = os.stat(name, dir_fd=source, follow_symlinks=False)
    with _opened(name, place, None if is_mounted else coming.st_uid) as target:
        there = os.fstat(target).st_blocks * BLOCK
        room.take(source, there, "what is in it is kept meanwhile, which")
        room.take(target, coming.st_blocks * BLOCK - there, "what comes")


def save(name: str, place: int, old: int) -> None:
    """Save a copy of a file, durably, unless there is one.

    :param old: descriptor of the directory for the copy, which has the same name.
    :raises OSError: it cannot be saved.
    """
    if exists(name, old):
        return
    with closing(open_regular(name, dir_fd=place)) as source:
        with closing(os.open(_SAVING, _NEW_FILE, 0o600, dir_fd=old)) as target:
            _copy(source, target)
    os.rename(_SAVING, name, src_dir_fd=old, dst_dir_fd=old)


def fill(name: str, place: int, source: int, is_mounted: bool, back: bool = False) -> None:
    """Write the content of another file of the same name into a file, durably; it can be repeated after a kill.

    :param source: descriptor of the directory that the other file is in.
    :param is_mounted: as for `check`.
    :param back: whether it is the old content, which is written even if somebody has the file open.
    :raises OSError: it cannot be written, or is not mounted any more.
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
    """Open a file for writing; one that is not a mount point may be a hard link that somebody made to any other file.

    :param owner: required owner of one that is not a mount point; somebody else could be reading it.
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
    """Return the id of a file's mount (proc_pid_fdinfo(5))."""
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
    with suppress(PermissionError):  # on a file system without modes
        os.fchmod(target, stat.S_IMODE(status.st_mode))
    _give_lists(target, status.st_mode, owners.lists(source))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.fsync(target)


def _close(target: int, wanted: os.stat_result, lists: Mapping[str, bytes]) -> None:
    """Remove the access of those who may not read the new content, before it is written."""
    own = os.fstat(target)
    if (own.st_uid, own.st_gid) == (wanted.st_uid, wanted.st_gid) and owners.lists(target) == lists:
        with suppress(PermissionError):
            os.fchmod(target, stat.S_IMODE(own.st_mode & wanted.st_mode))
        return
    with suppress(PermissionError):
        owners.close(target, 0o600)


def _is_open_elsewhere(descriptor: int) -> bool:
    """Return whether another process has a file open, which prevents a lease on it (fcntl(2)), if that is supported."""
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # is ignored by default, should somebody open it now
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _give_lists(target: int, mode: int, lists: Mapping[str, bytes]) -> None:
    """Set access control lists; where that fails, narrow the mode to what they allow."""
    for name, value in lists.items():
        try:
            os.setxattr(target, name, value)
        except OSError:
            os.fchmod(target, posix_acl.narrowed(stat.S_IMODE(mode), posix_acl.from_xattr(value)))


def _reserve(target: int, parts: Sequence[sparse_files.Region], size: int) -> int:
    """Allocate space for the new content before the old is overwritten, and return the old size.

    :raises OSError: there is too little space; the file is unchanged.
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
        if error.errno in _NO_ROOM:  # else the file system does not support allocation
            raise


def _clear(target: int, parts: Sequence[sparse_files.Region], size: int) -> None:
    """Punch holes for the old content between the new data regions.

    :param size: of the file before.
    """
    end = 0
    for offset, length in parts:
        stop = min(offset, size)
        if stop > end and _FALLOCATE(target, _PUNCH_HOLE, end, stop - end):
            for start, old in sparse_files.parts(target, stop, end):  # the file system does not support holes
                for at in range(start, start + old, _CHUNK):
                    os.pwrite(target, bytes(min(_CHUNK, start + old - at)), at)
        end = offset + length


def _copy_part(source: int, target: int, offset: int, end: int) -> None:
    while offset < end and (content := os.pread(source, min(_CHUNK, end - offset), offset)):
        view = memoryview(content)
        while view:
            written = os.pwrite(target, view, offset)
            view, offset = view[written:], offset + written

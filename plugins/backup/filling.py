"""Writing into a single file that is mounted below the data, as containers have them: nothing can take its place.

Or into one that is mounted elsewhere, too, where what takes its place would not be seen.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import file_attributes, sparse_files
from jidoteki.hookspecs.paths import open_regular
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup.descriptors import closing, is_there

_SAVING: Final = f"{RESERVED}saving"
_CHUNK: Final = 1024 * 1024
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOUNT: Final = re.compile(r"^mnt_id:\s*(\d+)$", re.MULTILINE)


def check(name: str, place: int, source: int, is_mounted: bool) -> None:
    """Make sure that a file can be written that is mounted in a directory.

    :param source: descriptor of the directory where one of the same name has what is to be written.
    :param is_mounted: whether it is; else it lies there, and is mounted elsewhere.
    :raises OSError: it cannot.
    """
    with _opened(name, place, None if is_mounted else os.stat(name, dir_fd=source, follow_symlinks=False).st_uid):
        pass


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


def fill(name: str, place: int, source: int, is_mounted: bool) -> None:
    """Write what a file of the same name holds into it, durably; what is interrupted can be done again.

    :param source: descriptor of the directory that the other file is in.
    :param is_mounted: as for `check`.
    :raises OSError: that is impossible, or it is not mounted any more.
    """
    with closing(open_regular(name, dir_fd=source)) as content:
        with _opened(name, place, None if is_mounted else os.fstat(content).st_uid) as target:
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
    parts = sparse_files.regions(source, status)
    if parts is None:
        _reserve(target, status.st_size)
    else:  # nothing is left where there are to be holes
        os.ftruncate(target, 0)
    for offset, length in parts or [(0, status.st_size)]:
        _copy_part(source, target, offset, offset + length)
    os.ftruncate(target, status.st_size)
    file_attributes.give_owner(target, status.st_uid, status.st_gid)
    with suppress(PermissionError):  # of a file system that knows no modes
        os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.fsync(target)


def _reserve(target: int, size: int) -> None:
    """Make sure that there is room for all, before anything of what is there is gone.

    :raises OSError: there is none, and the file is as it was.
    """
    before = os.fstat(target).st_size
    try:
        os.posix_fallocate(target, 0, max(size, 1))
    except OSError as error:
        os.ftruncate(target, before)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def _copy_part(source: int, target: int, offset: int, end: int) -> None:
    while offset < end and (content := os.pread(source, min(_CHUNK, end - offset), offset)):
        view = memoryview(content)
        while view:
            written = os.pwrite(target, view, offset)
            view, offset = view[written:], offset + written

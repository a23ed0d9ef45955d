"""Writing into a single file that is mounted below the data, as containers have them: nothing can take its place."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import file_attributes, posix_acl
from jidoteki.hookspecs.paths import open_regular
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import owners
from jidoteki.plugins.backup.descriptors import closing, is_there

_SAVING: Final = f"{RESERVED}saving"
_CHUNK: Final = 1024 * 1024
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOUNT: Final = re.compile(r"^mnt_id:\s*(\d+)$", re.MULTILINE)


def check(name: str, place: int) -> None:
    """Make sure that a file can be written that is mounted in a directory.

    :raises OSError: it cannot.
    """
    with _mounted(name, place):
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


def fill(name: str, place: int, source: int, back: bool = False) -> None:
    """Write what a file of the same name holds into it, durably; what is interrupted can be done again.

    :param source: descriptor of the directory that the other file is in.
    :param back: whether it is what was in it before, which is written whoever has it open.
    :raises OSError: that is impossible, or it is not mounted any more.
    """
    with closing(open_regular(name, dir_fd=source)) as content, _mounted(name, place) as target:
        owner = os.fstat(target).st_uid
        _close(target, os.fstat(content), owners.lists(content))
        if not back and owner not in (os.fstat(content).st_uid, os.geteuid(), 0) and _is_open_elsewhere(target):
            raise OSError(errno.EBUSY, f"user {owner} owns {name}, and it is open")
        os.ftruncate(target, 0)
        _copy(content, target)


@contextmanager
def _mounted(name: str, place: int) -> Iterator[int]:
    """Open it for writing: a file that is not mounted may be a second name that somebody gave to any other."""
    with closing(os.open(name, _WRITE, dir_fd=place)) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or _mount(descriptor) == _mount(place):
            raise OSError(errno.EINVAL, "it is no file of its own file system")
        yield descriptor


def _mount(descriptor: int) -> str:
    """The number of the mount that something is in (proc_pid_fdinfo(5))."""
    found = _MOUNT.search(Path(f"/proc/self/fdinfo/{descriptor}").read_text())
    return found[1] if found else ""


def _copy(source: int, target: int) -> None:
    status = os.fstat(source)
    while content := os.read(source, _CHUNK):
        view = memoryview(content)
        while view:
            view = view[os.write(target, view) :]
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

"""Locks between processes: lock files of the service (flock(2))."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jidoteki.core.files import leftovers

_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: The errors on opening a directory, a symbolic link or a socket.
_NO_FILE = (errno.EISDIR, errno.ELOOP, errno.ENXIO)


class LockHeldError(OSError):
    """A lock that another process holds."""


def take(path: Path, tries: int = 1) -> int:
    """Take a lock and return its descriptor; closing the last copy of it, in any process, releases the lock.

    :param tries: attempts, 10 ms apart.
    :raises LockHeldError: it is held after the last attempt.
    :raises OSError: no file can be made there.
    """
    descriptor = _open(path)
    for left in range(tries - 1, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                os.close(descriptor)
                raise
        if left:
            time.sleep(0.01)
    os.close(descriptor)
    raise LockHeldError(errno.EBUSY, f"Another process holds {path.name}")


@contextmanager
def holding(path: Path, tries: int = 1) -> Iterator[None]:
    """Hold a lock in a `with` block.

    :raises LockHeldError: it is held after the last attempt.
    :raises OSError: no file can be made there.
    """
    descriptor = take(path, tries)
    try:
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether some process holds the lock; anything but a regular file is no lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _SAFELY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, *_NO_FILE):
            return False
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return True
        raise
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    """Open or create the lock file; anything else in its place is set aside."""
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | _SAFELY, 0o600)
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
        else:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
        leftovers.set_aside(path)
    raise OSError(errno.EINVAL, "It is not a regular file", str(path))

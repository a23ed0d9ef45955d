"""Detecting files that cannot be replaced by a rename, before the first of several is replaced.

For a file that is a mount point, as in containers, or immutable, the kernel reports the error only at the rename
(rename(2): EBUSY, EPERM), when others have been replaced already.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from jidoteki.hookspecs.mounts import mounts_below

_LONG = struct.calcsize("l")
#: FS_IOC_GETFLAGS of linux/fs.h: `_IOR('f', 1, long)`, which writes an int.
GET_FLAGS = 2 << 30 | _LONG << 16 | ord("f") << 8 | 1
IMMUTABLE, APPEND_ONLY = 0x10, 0x20
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def check(paths: Iterable[Path]) -> None:
    """Raise the error that the kernel would raise on replacing one of these files.

    :raises OSError: the first file that cannot be replaced.
    """
    files = list(paths)
    mounted = {parent: mounts_below(parent) for parent in {each.parent for each in files}}
    for path in files:
        if path.is_dir() and not path.is_symlink():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.name in mounted[path.parent]:
            raise OSError(errno.EBUSY, f"{path.name} is mounted there, and cannot be replaced", str(path))
        for each in (path, path.parent):
            if _flags(each) & (IMMUTABLE | APPEND_ONLY):
                raise OSError(errno.EPERM, f"{each.name} is immutable or append-only", str(path))


def _flags(path: Path) -> int:
    """Return the attributes of a file (chattr(1)); 0 where its file system has none."""
    answer = bytearray(_LONG)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, READ)
        try:
            fcntl.ioctl(descriptor, GET_FLAGS, answer)
        finally:
            os.close(descriptor)
    return int.from_bytes(answer[:4], sys.byteorder)

"""Files that nothing can be renamed over: told before the first of several is replaced, so that none is.

Of what a container mounts over a single file, and of what an administrator made immutable, the kernel says so only when
the file's turn has come (rename(2): EBUSY, EPERM), and then others have been replaced already.
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
    """Raise what the kernel would raise when one of these files is replaced.

    :raises OSError: of the first that cannot be.
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
    """The attributes of a file (chattr(1)); none where its file system has none."""
    answer = bytearray(_LONG)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, READ)
        try:
            fcntl.ioctl(descriptor, GET_FLAGS, answer)
        finally:
            os.close(descriptor)
    return int.from_bytes(answer[:4], sys.byteorder)

"""Opening what somebody else may have put there: never through a link, never waiting, never more than a limit.

A directory below which others write is entered component by component through descriptors, so that one that is swapped
for a symbolic link meanwhile leads nowhere (what openat2(2) calls RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, on every
kernel).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_READ: Final = 8 * 1024 * 1024


def directory_beneath(directory: int, components: Sequence[str]) -> int:
    """Open a directory below another one, and return its descriptor.

    :param directory: descriptor of a directory; it stays open.
    :param components: names without `/`; none for a copy of `directory`'s own descriptor.
    :raises OSError: one of them is missing, no directory, a symbolic link, `..`, or not to be entered.
    """
    current = os.open(".", DIRECTORY, dir_fd=directory)
    try:
        for name in components:
            if name == ".." or "/" in name:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            inner = os.open(name, DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
    except BaseException:
        os.close(current)
        raise
    return current


def open_regular(path: str | Path, *, dir_fd: int | None = None, follow: bool = False) -> int:
    """Open a regular file for reading, and return its descriptor; a pipe or device is not waited for.

    :param dir_fd: descriptor of the directory in which `path` is a name.
    :param follow: whether the path may be a symbolic link; for directories that nobody else writes to.
    :raises OSError: it is missing, cannot be read, or is no regular file.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "It is not a regular file", str(path))


def read_regular(path: str | Path, limit: int = MAX_READ, *, dir_fd: int | None = None, follow: bool = False) -> bytes:
    """Return the content of a regular file.

    :param limit: bytes that it may have.
    :raises OSError: as `open_regular`, and where it is longer than the limit (EFBIG).
    """
    with open(open_regular(path, dir_fd=dir_fd, follow=follow), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"It is longer than {limit} bytes", str(path))
    return content

"""Free space on file systems."""

from __future__ import annotations

import errno
import os
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""The error numbers of a write to a full disk, or above the quota."""
UNKNOWN: Final = 1 << 62
"""The answer, in bytes, for file systems that report no size, such as some of FUSE and network servers."""


def spendable(descriptor: int, free_space: int) -> int:
    """Return how many bytes may be written to a file system; negative where too few are free already.

    :param descriptor: of any file on it.
    :param free_space: bytes that must stay free.
    :raises OSError: the file system cannot be queried.
    """
    status = os.fstatvfs(descriptor)
    return status.f_bavail * status.f_frsize - free_space if status.f_blocks else UNKNOWN


def share(descriptor: int, free_space: int) -> int:
    """Return how many bytes must stay free on a file system beside that of the data: at most half of its size.

    :param descriptor: of any file on it.
    :param free_space: bytes that must stay free on a large one.
    :raises OSError: the file system cannot be queried.
    """
    status = os.fstatvfs(descriptor)
    return min(free_space, status.f_blocks * status.f_frsize // 2)

"""The room on a file system that something may be written to."""

from __future__ import annotations

import os
from typing import Final

UNKNOWN: Final = 1 << 62
"""Bytes, where a file system does not tell its size: some that a program or another machine provides."""


def spendable(descriptor: int, free_space: int) -> int:
    """How many bytes may be written to a file system; less than 0 where too few are free already.

    :param descriptor: of anything on it.
    :param free_space: bytes that are to stay free.
    :raises OSError: it cannot be told.
    """
    status = os.fstatvfs(descriptor)
    return status.f_bavail * status.f_frsize - free_space if status.f_blocks else UNKNOWN


def share(descriptor: int, free_space: int) -> int:
    """What is to stay free of a file system beside that of the data: of a small one half, or nothing would fit.

    :param descriptor: of anything on it.
    :param free_space: bytes that are to stay free of a large one.
    :raises OSError: its size cannot be told.
    """
    status = os.fstatvfs(descriptor)
    return min(free_space, status.f_blocks * status.f_frsize // 2)

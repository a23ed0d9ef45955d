"""The space that a restore needs beside unpacking: for files that are written in place, and saved until it is done."""

from __future__ import annotations

import errno
import os
from collections import defaultdict

from jidoteki.hookspecs.free_space import share, spendable


class Room:
    """The bytes that are planned to be written to each file system, so that enough space stays free.

    :param free_space: bytes that must stay free (see `share`).
    """

    def __init__(self, free_space: int) -> None:
        self._free_space = free_space
        self._planned: defaultdict[int, int] = defaultdict(int)

    def take(self, descriptor: int, size: int, what: str) -> None:
        """Plan to write bytes.

        :param descriptor: of any file on the file system.
        :param what: the subject of the error message.
        :raises OSError: too little would stay free.
        """
        if size <= 0:
            return
        keep = share(descriptor, self._free_space)
        device = os.fstat(descriptor).st_dev
        if self._planned[device] + size > spendable(descriptor, keep):
            raise OSError(errno.ENOSPC, f"{what} would leave less than {keep} bytes free")
        self._planned[device] += size

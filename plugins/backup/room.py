"""The room that a restore needs beside what it unpacks: where files are written in place, and kept until it is done."""

from __future__ import annotations

import errno
import os
from collections import defaultdict

from jidoteki.hookspecs.free_space import share, spendable


class Room:
    """What is planned to be written to each file system, so that enough of it stays free.

    :param free_space: bytes that are to stay free (see `share`).
    """

    def __init__(self, free_space: int) -> None:
        self._free_space = free_space
        self._planned: defaultdict[int, int] = defaultdict(int)

    def take(self, descriptor: int, size: int, what: str) -> None:
        """Plan to write bytes.

        :param descriptor: of anything on the file system.
        :param what: is to be written, for the reason.
        :raises OSError: too little would stay free.
        """
        if size <= 0:
            return
        keep = share(descriptor, self._free_space)
        device = os.fstat(descriptor).st_dev
        if self._planned[device] + size > spendable(descriptor, keep):
            raise OSError(errno.ENOSPC, f"{what} would leave less than {keep} bytes free")
        self._planned[device] += size

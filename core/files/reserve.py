"""Disk space and inodes that are reserved for what makes room on a full disk, and for what is written before that."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from jidoteki.hookspecs import privileges
from jidoteki.hookspecs.free_space import FULL

Written = TypeVar("Written")

#: Each file takes one inode and this much space.
PIECE: Final = 4096
PIECES: Final = 64
#: What one job takes for its record, order, work space, logs and status files.
FOR_A_JOB: Final = 16


class Reserve:
    """A reserve: small files, of which as many are removed as are needed.

    :param directory: where these files are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self) -> None:
        """Allocate what is missing, as far as there is room for it now; never raises."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            for _ in range(PIECES - len(os.listdir(self._directory))):
                self._allocate(self._directory / secrets.token_hex(8))
        except OSError:  # there is no more room, or the file system cannot allocate any
            return

    def _allocate(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, PIECE)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)

    def using(self, pieces: int, write: Callable[[], Written]) -> Written:
        """Call a function that writes, and where the disk is full once more with so many pieces freed.

        :raises OSError: as the function does.
        """
        try:
            return write()
        except OSError as error:
            if error.errno not in FULL or not self.release(pieces):
                raise
        return write()

    def release(self, pieces: int) -> bool:
        """Free some of it, and return whether there was any; never as root what the service's user has linked to."""
        released = False
        try:
            with privileges.lowered():
                for name in os.listdir(self._directory)[:pieces]:
                    os.unlink(self._directory / name)
                    released = True
        except OSError:
            return released
        return released

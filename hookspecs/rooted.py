"""Paths that root alone decides about: what root executes, or reads as configuration."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_OTHERS = 0o022


class NotRootedError(PermissionError):
    """A path that somebody else than root may replace or write to."""

    def __init__(self, path: Path, part: Path) -> None:
        super().__init__(errno.EPERM, f"Somebody else than root owns {part} or may write to it", str(path))
        self.part = part

    def __str__(self) -> str:
        return str(self.strerror)


def require(path: Path) -> None:
    """Check that a path, all that it leads through, and every directory above belong to root, who alone writes there.

    :raises NotRootedError: somebody else may change what it leads to.
    :raises OSError: it is missing.
    """
    absolute = path.absolute()
    for start in (absolute, absolute.resolve(strict=True)):
        for part in (start, *start.parents):
            if not _is_roots(part.lstat()):
                raise NotRootedError(path, part)


def _is_roots(status: os.stat_result) -> bool:
    if status.st_uid != 0:
        return False
    return stat.S_ISLNK(status.st_mode) or not status.st_mode & _OTHERS

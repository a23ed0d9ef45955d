"""Locks on files in use: a file that is not locked was left by a dead process."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def hold(path: Path) -> int | None:
    """Lock a file until the returned descriptor is closed, or this process ends.

    :return: None when another process holds it, it is missing, or it does not belong to this user.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed it.
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)) and os.fstat(descriptor).st_uid == os.geteuid():
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def remove_abandoned(directory: Path, pattern: str) -> None:
    """Remove the files of dead processes from a directory."""
    for path in directory.glob(pattern):
        descriptor = hold(path)
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)

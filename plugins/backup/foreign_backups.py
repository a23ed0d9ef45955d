"""Backups in the uploads directory that others made: the original, or a script started by cron or SSH.

The files are trusted if only root or the service's user can have written them: `backup.json` with `status` and any
other keys, and `backup.tar`, with or without the former. The directory belongs to the SFTP user, who can rename old
files back: a file with a modification time, which he cannot change, before the last backup that was made or deleted
here is ignored. So are the service's own copies.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from jidoteki.hookspecs import Appliance, paths, published, strict_json

ARCHIVE: Final = "backup.tar"
DESCRIPTION: Final = "backup.json"
MAX_DESCRIPTION: Final = 64 * 1024


def description(appliance: Appliance, since: int) -> dict[str, Any] | None:
    """Return the description of another tool's backup; None if there is none.

    :param since: the earliest modification time that counts, in nanoseconds since the epoch.
    """
    with suppress(OSError, ValueError, RecursionError), _open(appliance, DESCRIPTION, since) as file:
        content = file.read(MAX_DESCRIPTION + 1) or b""
        facts = strict_json.loads(content) if len(content) <= MAX_DESCRIPTION else None
        if isinstance(facts, dict) and isinstance(facts.get("status"), str):
            return facts
    return None


def archive(appliance: Appliance, since: int) -> IO[bytes] | None:
    """Open the archive; return None if there is none."""
    with suppress(OSError):
        return _open(appliance, ARCHIVE, since)
    return None


def exists(appliance: Appliance) -> bool:
    """Return whether there is anything to delete, no matter who put it there."""
    return any(os.path.lexists(appliance.uploads / name) for name in (ARCHIVE, DESCRIPTION))


def _withdrawn(appliance: Appliance) -> Path:
    return appliance.jobs / "backup.withdrawn"


def withdraw(appliance: Appliance) -> None:
    """Let the present files be ignored from now on, even if they are renamed back."""
    with suppress(OSError):  # if the disk is full, a backup may not fit, either
        appliance.replace_file(_withdrawn(appliance), b"", mode=0o600)


def last_withdrawn(appliance: Appliance) -> int:
    """Return when a backup was last made or deleted here, in nanoseconds since the epoch."""
    return modified(_withdrawn(appliance))


def modified(path: Path) -> int:
    """Return the modification time of a file; 0 if it is missing, or if the time is in the future."""
    with suppress(OSError):
        modified = path.lstat().st_mtime_ns
        return modified if modified <= time.time_ns() else 0
    return 0


def _open(appliance: Appliance, name: str, since: int) -> IO[bytes]:
    """Open a file that only root and the service's user can have written.

    :raises OSError: it is missing or not trusted.
    """
    with paths.directory(appliance.uploads) as directory:
        descriptor = paths.open_regular(name, dir_fd=directory)
    status = os.fstat(descriptor)
    # A second hard link may have been made by the SFTP user, to a file elsewhere.
    trusted = paths.is_private(status) and status.st_nlink == 1
    if trusted and status.st_mtime_ns >= since and not published.is_copy(status):
        return open(descriptor, "rb", buffering=0)
    os.close(descriptor)
    raise paths.NotTrustedError(name)

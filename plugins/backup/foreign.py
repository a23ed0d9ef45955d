"""A backup of somebody else's making in the uploads directory: of the original, or of a script that cron or SSH starts.

Its files are believed if root or the service's user wrote them, and nobody else can have: `backup.json` with `status`
and whatever else, and `backup.tar`, with or without the former. The directory belongs to the SFTP user, who can give
back what he renamed before: what is older than the last backup that was made or deleted here does not count, by the
time of modification, which he cannot change. Neither does what the service itself put there.
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
    """What another one says of its backup; None where there is none.

    :param since: the time from which on it counts, in nanoseconds since the epoch.
    """
    with suppress(OSError, ValueError, RecursionError), _open(appliance, DESCRIPTION, since) as file:
        content = file.read(MAX_DESCRIPTION + 1) or b""
        facts = strict_json.loads(content) if len(content) <= MAX_DESCRIPTION else None
        if isinstance(facts, dict) and isinstance(facts.get("status"), str):
            return facts
    return None


def archive(appliance: Appliance, since: int) -> IO[bytes] | None:
    """Open the archive; None where there is none."""
    with suppress(OSError):
        return _open(appliance, ARCHIVE, since)
    return None


def exists(appliance: Appliance) -> bool:
    """Whether there is anything to delete, whoever put it there."""
    return any(os.path.lexists(appliance.uploads / name) for name in (ARCHIVE, DESCRIPTION))


def _withdrawn(appliance: Appliance) -> Path:
    return appliance.jobs / "backup.withdrawn"


def withdraw(appliance: Appliance) -> None:
    """See to it that what is there now does not count, should it come back under its name."""
    with suppress(OSError):  # where there is no room for it, there may be none for a backup either
        appliance.replace_file(_withdrawn(appliance), b"", mode=0o600)


def last_withdrawn(appliance: Appliance) -> int:
    """When a backup was last made or deleted here, in nanoseconds since the epoch."""
    return modified(_withdrawn(appliance))


def modified(path: Path) -> int:
    """When a file was last written; the beginning of time where there is none, and after the clock was set back."""
    with suppress(OSError):
        modified = path.lstat().st_mtime_ns
        return modified if modified <= time.time_ns() else 0
    return 0


def _open(appliance: Appliance, name: str, since: int) -> IO[bytes]:
    """Open a file that nobody but root and the service's user can have written.

    :raises OSError: there is none.
    """
    with paths.directory(appliance.uploads) as directory:
        descriptor = paths.open_regular(name, dir_fd=directory)
    status = os.fstat(descriptor)
    # A file with a second name may be one that lies elsewhere, and only the name is the SFTP user's.
    trusted = paths.is_private(status) and status.st_nlink == 1
    if trusted and status.st_mtime_ns >= since and not published.is_copy(status):
        return open(descriptor, "rb", buffering=0)
    os.close(descriptor)
    raise paths.NotTrusted(name)

"""Unpacking archives that are backups: `Job.unpack`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jidoteki.core.archives import unpacking
from jidoteki.core.archives.streams import GunzipError, Observed, gunzipped
from jidoteki.hookspecs import JobError, paths, privileges

if TYPE_CHECKING:
    from jidoteki.core.jobs.context import Context

ROOM_FOR_HEADERS = 64 * 1024 * 1024


def unpack(
    job: Context,
    archive: Path,
    into: Path | int,
    links_below: Path,
    own: Callable[[], bool],
    elsewhere: Callable[[str], int | None],
    room: int,
    *,
    true_owners: bool,
    seen: Callable[[bytes], object],
) -> None:
    """Unpack a tar archive, which may be compressed with gzip, safely: see `Job.unpack`."""
    policy = unpacking.Policy.restore(
        links_below=links_below,
        free_space=job.host_config["limits"]["free-space"],
        checkpoint=job.checkpoint,
        note=job.log,
        own=own,
        elsewhere=elsewhere,
        true_owners=true_owners,
    )
    try:
        with privileges.lowered():
            descriptor = paths.open_regular(archive)
        with open(descriptor, "rb") as file:
            whole = Observed(file, seen)
            unpacking.unpack(gunzipped(whole, _unpackable(into) + 2 * room), into, policy)
            whole.read_rest()
    except unpacking.ArchiveError as error:
        raise JobError(str(error)) from error
    except GunzipError as error:
        raise JobError(f"The archive cannot be decompressed: {error}") from error


def _unpackable(into: Path | int) -> int:
    """Return the maximum size in bytes of an archive that can fit on a file system; headers take up space, too."""
    status = os.statvfs(into)
    return 2 * status.f_bavail * status.f_frsize + ROOM_FOR_HEADERS

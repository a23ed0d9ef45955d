"""Where a package is unpacked and its `update.sh` runs: `ADMIN/tmp/update`, which scripts know from the original."""

from __future__ import annotations

from pathlib import Path

from jidoteki.core.files import leftovers
from jidoteki.hookspecs import Appliance, Job

#: As in the original, for what is unpacked and for what the script makes.
UMASK = 0o027


def directory(job: Job) -> Path:
    """The directory of this run; dry runs, of which there may be several beside an update, have their own."""
    return job.workspace / "package" if job.dry_run else _shared(job.appliance)


def make(job: Job) -> Path:
    """Make the directory, empty and closed to other users, whatever a run that was killed left there.

    :raises OSError: something is in the way that can neither be removed nor be set aside.
    """
    path = directory(job)
    try:
        leftovers.remove(path)
    except (OSError, RecursionError) as error:
        job.log(f"{path} cannot be removed: {getattr(error, 'strerror', None) or error}")
        leftovers.set_aside(path)
    path.mkdir(mode=0o700)
    return path


def clear(appliance: Appliance) -> None:
    """Remove the directory; call it while no update runs. What is mounted in it stays, and is told of."""
    path = _shared(appliance)
    with leftovers.tolerated(f"{path} cannot be removed"):
        leftovers.remove(path)


def _shared(appliance: Appliance) -> Path:
    return appliance.admin / "tmp" / "update"

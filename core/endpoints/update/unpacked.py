"""The directory of an unpacked package, in which its `update.sh` runs: `ADMIN/tmp/update`, as in the original."""

from __future__ import annotations

from pathlib import Path

from jidoteki.core.files import leftovers
from jidoteki.hookspecs import Appliance, Job

#: As in the original, for unpacked files and for those that the script creates.
UMASK = 0o027


def workspace(job: Job) -> Path:
    """Return the directory of this run that nobody else may change: where root runs the job one of root's."""
    appliance = job.appliance
    return job.workspace if appliance.guarded == appliance.jobs else appliance.tmp / "runs" / job.id


def directory(job: Job) -> Path:
    """Return the directory of this run; dry runs, which may be concurrent, have their own."""
    return workspace(job) / "package" if job.dry_run else _shared(job.appliance)


def make(job: Job) -> Path:
    """Create the directory, empty and closed to other users, after removing what a killed run left.

    :raises OSError: an existing file can neither be removed nor set aside.
    """
    path = directory(job)
    try:
        leftovers.remove(path)
    except (OSError, RecursionError) as error:
        job.log(f"{path} cannot be removed: {getattr(error, 'strerror', None) or error}")
        leftovers.set_aside(path)
    path.mkdir(mode=0o700)
    return path


def kept(appliance: Appliance) -> Path:
    """Return the directory of the copies that an update on trial keeps, which its script does not know."""
    return appliance.guarded / "update-programs"


def clear(appliance: Appliance) -> None:
    """Remove the directories, except what is mounted in them; call it while no update is running."""
    for path in (_shared(appliance), kept(appliance)):
        with leftovers.tolerated(f"{path} cannot be removed"):
            leftovers.remove(path)


def _shared(appliance: Appliance) -> Path:
    return appliance.tmp / "update"

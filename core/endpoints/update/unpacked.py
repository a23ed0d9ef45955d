"""The directory of an unpacked package, in which its `update.sh` runs: `ADMIN/tmp/update`, as in the original."""

from __future__ import annotations

import os
from pathlib import Path

from jidoteki.core.files import leftovers
from jidoteki.hookspecs import Appliance, Job

#: As in the original, for unpacked files and for those that the script creates.
UMASK = 0o027


def workspace(job: Job) -> Path:
    """Return the directory of this run that nobody else may change: where root runs the job one of root's."""
    appliance = job.appliance
    return job.workspace if appliance.guarded == appliance.jobs else appliance.tmp / "runs" / job.id


def directory(appliance: Appliance) -> Path:
    """Return the directory of the package that is being installed."""
    return appliance.tmp / "update"


def _judged(job: Job) -> Path:
    return workspace(job) / "package"


def make(job: Job) -> Path:
    """Create the directory in which a package is judged, empty, and closed to other users.

    It is one of this run alone: what is not to be installed must never lie where an update on trial is looked for.
    """
    path = _judged(job)
    path.mkdir(mode=0o700)
    return path


def accept(job: Job) -> Path:
    """Move the judged package to where it is installed from, after removing what a killed run left there.

    :raises OSError: an existing file can neither be removed nor set aside.
    """
    path = directory(job.appliance)
    for left in (path, kept(job.appliance)):
        try:
            leftovers.remove(left)
        except (OSError, RecursionError) as error:
            job.log(f"{left} cannot be removed: {getattr(error, 'strerror', None) or error}")
            leftovers.set_aside(left)
    os.rename(_judged(job), path)
    return path


def kept(appliance: Appliance) -> Path:
    """Return the directory of the copies that an update on trial keeps, which its script does not know."""
    return appliance.guarded / "update-programs"


def clear(appliance: Appliance) -> None:
    """Remove the directories, except what is mounted in them; call it while no update is running."""
    for path in (directory(appliance), kept(appliance)):
        with leftovers.tolerated(f"{path} cannot be removed"):
            leftovers.remove(path)

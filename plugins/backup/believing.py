"""What a backup or restore that root runs may believe: nothing of the service's user, who may have been taken over.

What belongs to a backup is in a list of root's. What lies where that user may write is read as he may read it, for he
may have moved there what he may not. Restored is what root packed.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from jidoteki.hookspecs import Appliance, Job, JobError, privileges, rooted
from jidoteki.plugins.backup.own_backups import Origin


def check_place(appliance: Appliance) -> None:
    """Check that the data directory is where root has put it, where root can be.

    :raises JobError: somebody else may put another one in its place.
    """
    if not privileges.are_kept():
        return
    try:
        for path in (appliance.data, appliance.data.resolve()):
            rooted.require(path.parent)
    except OSError as error:
        raise JobError(f"Root neither packs nor restores {appliance.data}: {error.strerror}") from error


def check_origin(job: Job, origin: Origin) -> None:
    """Check that an archive may be restored by root.

    :raises JobError: somebody else made it.
    """
    if privileges.are_kept() and not job.config.get("allow-foreign") and not origin.is_own():
        raise JobError(
            "The archive is not one that this appliance made, and unchanged: root restores others only where "
            "plugins.backup.allow-foreign is true"
        )


def within(directory: int, above: bool = False) -> bool:
    """Return whether the service's user may have put something into an open directory, or one above it."""
    return above or privileges.in_reach(directory)


def reading(within: bool) -> AbstractContextManager[None]:
    """Read with the rights of the service's user, in a `with` block, what he may have put there."""
    return privileges.lowered() if within else nullcontext()

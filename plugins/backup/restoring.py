"""The job behind `/backup/restore`."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance, Job, JobFailed
from jidoteki.plugins.backup import swapping
from jidoteki.plugins.backup.selection import selected
from jidoteki.plugins.backup.targets import targets

CLEARING_TIME: Final = 1.0


def check(job: Job) -> None:
    """Unpack the archive beside the data, every member judged.

    :raises JobFailed: it is refused, and nothing is left of it.
    """
    job.log("Validating backup archive")
    swap = swapping.Swap(job.appliance, job.id)
    try:
        _unpack(job, swap)
    except BaseException as error:
        swap.discard()
        if isinstance(error, (JobFailed, OSError)):
            raise _refused(job, error, "The archive cannot be unpacked") from error
        raise
    if job.dry_run:
        swap.discard()


def _unpack(job: Job, swap: swapping.Swap) -> None:
    names = selected(job.appliance)
    swapping.finish_all(job.appliance)
    swapping.remove_all(job.appliance)
    swap.prepare()
    job.unpack(Path(job.input["archive"]), swap.new, job.appliance.data)
    targets(swap.new, job.appliance.data, names)


def restore(job: Job) -> None:
    """Put the unpacked tree in place of the old one.

    :raises JobFailed: that is impossible, and the old one is there.
    """
    swap = swapping.Swap(job.appliance, job.id)
    job.progress(60)
    job.log("Restoring backup")
    try:
        swap.commit(targets(swap.new, job.appliance.data, selected(job.appliance)))
    except (JobFailed, OSError) as error:
        raise _refused(job, error, "The restore failed") from error
    finally:
        swap.discard()
    job.log("Restore complete")


def _refused(job: Job, error: JobFailed | OSError, what: str) -> JobFailed:
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        error = JobFailed(f"{what}: {'the disk is full' if full else error.strerror or error}")
    job.log(error.message)
    return error


def recover(appliance: Appliance) -> None:
    """Complete what a killed restore began to swap; what it left is removed meanwhile or soon after.

    :raises OSError: it can neither be completed nor taken back now.
    """
    swapping.finish_all(appliance)
    thread = threading.Thread(target=swapping.remove_all, args=(appliance,), daemon=True)
    thread.start()
    thread.join(CLEARING_TIME)

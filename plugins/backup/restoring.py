"""The job behind `/backup/restore`."""

from __future__ import annotations

import errno
import logging
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance, Job, JobFailed
from jidoteki.plugins.backup import staging, swapping
from jidoteki.plugins.backup.journal import Damaged, Journal
from jidoteki.plugins.backup.selection import selected
from jidoteki.plugins.backup.targets import targets

CLEARING_TIME: Final = 1.0
logger = logging.getLogger(__name__)


def check(job: Job) -> None:
    """Unpack the archive beside the data, every member judged.

    :raises JobFailed: it is refused, and nothing is left of it.
    """
    job.log("Validating backup archive")
    journal = Journal(job.appliance, job.id)
    try:
        _unpack(job, journal)
    except BaseException as error:
        swapping.discard(job.appliance, journal)
        if isinstance(error, (JobFailed, OSError)):
            raise _refused(job, error, "The archive cannot be unpacked") from error
        raise
    if job.dry_run:
        swapping.discard(job.appliance, journal)


def _unpack(job: Job, journal: Journal) -> None:
    appliance = job.appliance
    names = selected(appliance)
    swapping.finish_all(appliance, job.log)
    swapping.remove_all(appliance, job.log)
    entry = journal.create()
    _make_data_directory(appliance.data)
    with swapping.opened_data(appliance) as data, staging.make(data, entry) as made, made.opened(staging.NEW) as new:
        job.unpack(Path(job.input["archive"]), new, appliance.data)
        targets(new, data, appliance.data, names)


def _make_data_directory(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)


def restore(job: Job) -> None:
    """Put the unpacked tree in place of the old one.

    :raises JobFailed: that is impossible, and the old one is there.
    """
    journal = Journal(job.appliance, job.id)
    job.progress(60)
    job.log("Restoring backup")
    try:
        _commit(job, journal)
    except (JobFailed, OSError) as error:
        raise _refused(job, error, "The restore failed") from error
    finally:
        swapping.discard(job.appliance, journal)
    job.log("Restore complete")


def _commit(job: Job, journal: Journal) -> None:
    appliance = job.appliance
    with ExitStack() as opened:
        data = opened.enter_context(swapping.opened_data(appliance))
        try:
            entry = journal.read()
        except Damaged as error:
            raise JobFailed("The journal of the restore makes no sense") from error
        made = staging.find(data, entry) if entry else None
        if made is None:
            raise JobFailed("The restored data are gone from where they were unpacked")
        opened.enter_context(made)
        new = opened.enter_context(made.opened(staging.NEW))
        found = targets(new, data, appliance.data, selected(appliance))
        swapping.commit(journal, data, made, found, job.log)


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
    swapping.finish_all(appliance, logger.warning)
    thread = threading.Thread(target=swapping.remove_all, args=(appliance, logger.warning), daemon=True)
    thread.start()
    thread.join(CLEARING_TIME)

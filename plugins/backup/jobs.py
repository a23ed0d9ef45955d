"""The jobs behind `/backup`: making a backup and deleting it."""

from __future__ import annotations

import errno
import secrets
import shutil
from contextlib import suppress
from typing import Final

from jidoteki.hookspecs import Appliance, Job, JobFailed, JobType
from jidoteki.plugins.backup import packing, restoring, stored, swapping
from jidoteki.plugins.backup.counting import Count
from jidoteki.plugins.backup.selection import Tree, selected
from jidoteki.plugins.backup.sink import Sink

LOG: Final = "update_backup.log"
INTERRUPTED: Final = "The backup ended unexpectedly: it was killed, or the power failed"
_MAX_NOTES: Final = 100
_LONG: Final = 24 * 3600.0


class _Notes:
    """Log lines about single members, of which there may be millions."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._count = 0

    def __call__(self, text: str) -> None:
        self._count += 1
        if self._count <= _MAX_NOTES:
            self._job.log(text)

    def end(self) -> None:
        """Tell of the lines that were left out."""
        if self._count > _MAX_NOTES:
            self._job.log(f"{self._count - _MAX_NOTES} more lines like these are left out")


def back_up(job: Job) -> None:
    """Make a backup; an older one is gone from the start, for on a live image it takes up memory.

    :raises JobFailed: it cannot be made; nothing is left of it but the reason.
    """
    try:
        stored.delete(job.appliance)
        swapping.finish_all(job.appliance, job.log)
        _make(job)
    except (JobFailed, OSError, RuntimeError) as error:  # the last: "can't start new thread"
        message = error.message if isinstance(error, JobFailed) else f"The backup failed: {_reason(error)}"
        job.log(message)
        with suppress(OSError):
            stored.delete(job.appliance)
            stored.record_failure(job.appliance, message)
        raise JobFailed(message) from error


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return getattr(error, "strerror", None) or str(error)


def _make(job: Job) -> None:
    appliance = job.appliance
    job.log("Validating backup file size")
    names = selected(appliance)
    room = shutil.disk_usage(appliance.spool).free - job.settings["limits"]["free-space"]
    job.log("Starting backup")
    partial = appliance.spool / f"{stored.PARTIAL}{secrets.token_hex(8)}"
    notes = _Notes(job)
    with Count(lambda: packing.estimated(Tree(appliance.data, names, lambda text: None))) as count:

        def progress(written: int) -> None:
            size = count.result()
            if size and size > room:
                raise packing.TooBig
            job.progress(min(99, written * 99 // size) if size else 0)

        try:
            with Sink(partial) as sink:
                packed = packing.pack(Tree(appliance.data, names, notes), sink, room, appliance.data, notes, progress)
                size_shown = stored.store(appliance, partial, packed)
        except packing.TooBig as error:
            partial.unlink(missing_ok=True)
            size = count.result(wait=True)
            needed = f"about {size}" if size else "more"
            raise JobFailed(f"The backup needs {needed} bytes, but only {max(0, room)} may be used") from error
        finally:
            partial.unlink(missing_ok=True)
    notes.end()
    job.log(f"Created file: {stored.shown(appliance)} - size: {size_shown} - hash: {packed.sha256}")
    job.log("Backup complete")


def delete(job: Job) -> None:
    """Delete the backup, or what tells why there is none."""
    if stored.exists(job.appliance):
        job.log("Deleting backup archive")
    stored.delete(job.appliance)


def recover(appliance: Appliance) -> None:
    """Remove what a killed backup left, and say that there is none."""
    stored.remove_partial(appliance)
    if stored.status(appliance) is None:
        stored.record_failure(appliance, INTERRUPTED)


JOBS: Final = [
    JobType(
        "backup", back_up, exclusive_with=("restore",), log=LOG, source="LIVE IMAGE", timeout=_LONG, recover=recover
    ),
    JobType("backup-delete", delete, exclusive_with=("backup",), log=LOG, source="LIVE IMAGE", timeout=600),
    JobType(
        "restore",
        restoring.restore,
        restoring.check,
        exclusive_with=("update", "backup", "reboot", "settings", "storage", "certs", "license"),
        log=LOG,
        source="LIVE IMAGE",
        timeout=_LONG,
        persist=True,
        recover=restoring.recover,
    ),
]

"""The jobs behind `/backup`: making a backup, deleting it, restoring one."""

from __future__ import annotations

import errno
import json
import secrets
import shutil
from pathlib import Path

from jidoteki.hookspecs import Appliance, Job, JobFailed, JobType
from jidoteki.plugins.backup import packing
from jidoteki.plugins.backup.selection import members, selected
from jidoteki.plugins.backup.swapping import Swap

LOG = "update_backup.log"
MAX_NOTES = 100
UNITS = "KMGTPE"


def archive(appliance: Appliance) -> Path:
    """The backup."""
    return appliance.uploads / "backup.tar"


def description(appliance: Appliance) -> Path:
    """What is known of the backup: its presence says that the archive is complete."""
    return appliance.uploads / "backup.json"


class Notes:
    """Log lines about single members, of which there may be millions."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._count = 0

    def __call__(self, text: str) -> None:
        """Log it, if there are not too many already."""
        self._count += 1
        if self._count <= MAX_NOTES:
            self._job.log(text)
        elif self._count == MAX_NOTES + 1:
            self._job.log("There are more lines like these; they are left out")


def back_up(job: Job) -> None:
    """Write `backup.tar` and then `backup.json`; an older backup is gone from the start."""
    _remove(job.appliance)
    try:
        _write(job)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        job.log(f"Backup failed: {reason}")
        raise JobFailed(f"The backup failed: {reason}") from error


def _write(job: Job) -> None:
    appliance = job.appliance
    job.log("Validating backup file size")
    size = packing.estimated(members(appliance, lambda text: None))
    room = shutil.disk_usage(appliance.uploads).free - job.settings["limits"]["free-space"]
    if size > room:
        raise _no_room(job, size, room)
    job.log("Starting backup")
    temporary = appliance.uploads / f".jidoteki-backup-{secrets.token_hex(8)}"
    try:
        packed = packing.pack(
            members(appliance, Notes(job)), temporary, room, Notes(job),
            lambda done: job.progress(min(99, done * 99 // max(1, size))),
        )  # fmt: skip
        temporary.rename(archive(appliance))
    except packing.TooBig as error:
        raise _no_room(job, size, room) from error
    finally:
        temporary.unlink(missing_ok=True)
    shown = human_size(packed.size)
    facts = {"status": "success", "filesize": shown, "sha256": packed.sha256, "size": packed.size}
    appliance.replace_file(description(appliance), json.dumps(facts) + "\n")
    job.log(f"Created file: {archive(appliance)} - size: {shown} - hash: {packed.sha256}")
    job.log("Backup complete")


def _no_room(job: Job, size: int, room: int) -> JobFailed:
    message = f"The backup needs about {size} bytes, but only {max(0, room)} may be used"
    job.log(message)
    return JobFailed(message)


def delete(job: Job) -> None:
    """Delete the backup."""
    if archive(job.appliance).exists() or description(job.appliance).exists():
        job.log("Deleting backup archive")
    _remove(job.appliance)


def _remove(appliance: Appliance) -> None:
    description(appliance).unlink(missing_ok=True)
    archive(appliance).unlink(missing_ok=True)
    for left in appliance.uploads.glob(".jidoteki-backup-*"):
        left.unlink(missing_ok=True)


def human_size(size: int) -> str:
    """A size in the style of `du -h`, such as `128.0K`."""
    value, unit = max(1.0, size / 1024), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{UNITS[unit]}"


def check_archive(job: Job) -> None:
    """Unpack the archive beside the data, every member judged; a refused one is removed again."""
    job.log("Validating backup archive")
    swap = Swap(job.appliance)
    chosen = selected(job.appliance)
    try:
        swap.prepare()
        job.unpack(Path(job.input["archive"]), swap.new, job.appliance.data)
        swap.targets(chosen)
    except OSError as error:
        swap.finish()
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise _refused(job, f"The archive cannot be unpacked: {reason}") from error
    except JobFailed as error:
        swap.finish()
        raise _refused(job, error.message) from error
    if job.dry_run:
        swap.finish()


def _refused(job: Job, message: str) -> JobFailed:
    job.log(message)
    return JobFailed(message)


def restore(job: Job) -> None:
    """Put the unpacked tree in place of the old one."""
    swap = Swap(job.appliance)
    job.progress(60)
    job.log("Restoring backup")
    try:
        swap.commit(swap.targets(selected(job.appliance)))
    except OSError as error:
        raise _refused(job, f"The restore failed: {error.strerror or error}") from error
    except JobFailed:
        swap.finish()
        raise
    job.log("Restore complete")


def recover(appliance: Appliance) -> None:
    """Complete or undo what a killed restore left."""
    Swap(appliance).finish()


JOBS = [
    JobType("backup", back_up, exclusive_with=("restore",), log=LOG, source="LIVE IMAGE", timeout=24 * 3600),
    JobType("backup-delete", delete, exclusive_with=("backup", "restore"), log=LOG, source="LIVE IMAGE", timeout=60),
    JobType(
        "restore",
        restore,
        check_archive,
        exclusive_with=("update", "backup", "reboot", "settings", "storage", "certs", "license"),
        log="update_restore.log",
        timeout=24 * 3600,
        persist=True,
        recover=recover,
    ),
]

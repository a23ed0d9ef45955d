"""The jobs of `/backup`, which make and delete a backup."""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Job, JobCancelledError, JobError, JobType, privileges
from jidoteki.hookspecs.mounts import mounts_below
from jidoteki.plugins.backup import believing, packing, restoring, stored_backup, swapping
from jidoteki.plugins.backup.archive_file import Packed, Sink
from jidoteki.plugins.backup.archive_size import Count
from jidoteki.plugins.backup.backup_list import EVERYTHING, selection
from jidoteki.plugins.backup.error_messages import reason
from jidoteki.plugins.backup.matching import Matches, find
from jidoteki.plugins.backup.notes import MAX_NAMES, Notes, Silent
from jidoteki.plugins.backup.selection import Tree
from jidoteki.plugins.backup.validators import mode

LOG: Final = "update_backup.log"
INTERRUPTED: Final = stored_backup.INTERRUPTED
STOPPED: Final = "The backup was stopped"
FAILED: Final = "Backup failed"
_TIMEOUT: Final = 24 * 3600.0
_SHOWN: Final = 3
_SHOWN_LENGTH: Final = 100


def back_up(job: Job) -> None:
    """Make a backup; the previous one is deleted at the start, as it takes up memory on a live image.

    :raises JobError: it cannot be made; only the reason is stored. The previous one is kept if there is nothing to
        pack at all.
    """
    try:
        job.log("Validating backup file size")
        with privileges.raised():
            believing.check_place(job.appliance)
            swapping.finish_all(job.appliance, job.log)
            swapping.check_finished(job.appliance)
            found = _find(job.appliance)
    except (JobError, OSError) as error:
        raise _failed(job, error) from error
    try:
        stored_backup.delete(job.appliance)
        stored_backup.record_running(job.appliance)
        _make(job, found)
    except (JobError, OSError, RuntimeError) as error:  # the last: "can't start new thread"
        with suppress(OSError):
            stored_backup.delete(job.appliance)
        raise _failed(job, error) from error
    except JobCancelledError:
        with suppress(OSError):  # until it is deleted, too
            stored_backup.record_failure(job.appliance, STOPPED)
        raise


def _failed(job: Job, error: JobError | OSError | RuntimeError) -> JobError:
    message = error.message if isinstance(error, JobError) else f"The backup failed: {reason(error)}"
    job.log(message)
    job.log(FAILED)
    with suppress(OSError):
        stored_backup.record_failure(job.appliance, message)
    return JobError(message)


def _find(appliance: Appliance) -> Matches:
    """Find the listed paths in the data directory.

    :raises JobError: there are none.
    """
    found = find(selection(appliance).words, appliance.data)
    if found.names or found.blocked:
        return found
    if not appliance.data.is_dir():
        raise JobError(f"There is no data directory: {appliance.data} is missing")
    shown = ", ".join(f"{word[:_SHOWN_LENGTH]!a}" for word in found.missing[:_SHOWN])
    more = f" and {len(found.missing) - _SHOWN} more" if len(found.missing) > _SHOWN else ""
    raise JobError(f"Nothing that backup.txt lists is in {appliance.data}: {shown}{more}")


def _make(job: Job, found: Matches) -> None:
    appliance = job.appliance
    room = shutil.disk_usage(appliance.spool).free - job.host_config["limits"]["free-space"]
    job.log("Starting backup")
    partial = appliance.spool / f"{stored_backup.PARTIAL}{secrets.token_hex(8)}"
    notes = _noted(job, found)

    def estimated() -> int:
        with privileges.raised():
            return packing.estimated(Tree(appliance.data, found.names, Silent()))

    with Count(estimated) as count:

        def progress(written: int) -> None:
            size = count.result()
            if size and size > room:
                raise packing.TooBigError
            job.progress(min(99, written * 99 // size) if size else 0)

        try:
            with Sink(partial) as sink:
                tree = Tree(appliance.data, found.names, notes)
                with privileges.raised():
                    packed = packing.pack(tree, sink, room, notes, progress)
            told = _told(job, found, notes)
            job.commit()  # a backup that can be downloaded is none that was cancelled
            size_shown = stored_backup.store(appliance, partial, packed, told)
        except packing.TooBigError as error:
            partial.unlink(missing_ok=True)
            size = count.result(wait=True)
            needed = f"about {size}" if size else "more"
            raise JobError(
                f"The backup needs {needed} bytes, but only {max(0, room)} may be used in {appliance.spool}"
            ) from error
        except packing.EmptyArchiveError as error:
            raise JobError(notes.summary() if notes.count else "Nothing that backup.txt lists is there") from error
        finally:
            partial.unlink(missing_ok=True)
            notes.end()
    _tell_success(job, size_shown, packed)


def _noted(job: Job, found: Matches) -> Notes:
    notes = Notes(job.log)
    for word in found.missing:
        notes(f"{word} is missing")
    for path, why in found.blocked.items():
        notes.lost(path, why)
    for mount in mounts_below(job.appliance.data):
        if any(name == EVERYTHING or f"{mount}/".startswith(f"{name}/") for name in found.names):
            notes(f"{mount} is another file system, and what lies there is in the backup")
    return notes


def _told(job: Job, found: Matches, notes: Notes) -> dict[str, Any]:
    """Return the keys that describe an incomplete backup.

    :raises JobError: it must not be incomplete.
    """
    if notes.count and not job.config.get("allow-incomplete"):
        raise JobError(
            f"{notes.summary()}. A backup without them is made where plugins.backup.allow-incomplete is true"
        )
    told: dict[str, Any] = {}
    if found.missing:
        told["missing"] = stored_backup.some(found.missing, MAX_NAMES)
    if notes.count:
        told["incomplete"] = stored_backup.some(notes.names, MAX_NAMES)
    if notes.count > MAX_NAMES:
        told["incomplete-count"] = notes.count
    return told


def _tell_success(job: Job, size: str, packed: Packed) -> None:
    job.log_plain(f"Created file: {stored_backup.shown(job.appliance)} - size: {size} - hash: {packed.sha256}")
    job.log("Backup complete")


def delete(job: Job) -> None:
    """Delete the backup, or the description of the failed one."""
    if job.input.get("stopped"):
        job.log("Stopping backup")
    if stored_backup.exists(job.appliance):
        job.log("Deleting backup archive")
    stored_backup.delete(job.appliance)


def recover(appliance: Appliance) -> None:
    """Remove the files of a killed backup, and record its failure."""
    stored_backup.remove_partial(appliance)
    if stored_backup.is_interrupted(appliance):
        stored_backup.record_failure(appliance, INTERRUPTED)


JOBS: Final = [
    JobType(
        "backup",
        back_up,
        exclusive_with=("restore",),
        log=LOG,
        source="LIVE IMAGE",
        timeout=_TIMEOUT,
        recover=recover,
        cancellable=True,
        privileged=True,
    ),
    JobType(
        "backup-delete", delete, exclusive_with=("backup",), log=LOG, source="LIVE IMAGE", timeout=600, makes_room=True
    ),
    JobType(
        "restore",
        restoring.restore,
        restoring.check,
        exclusive_with=("update", "backup", "reboot", "settings", "storage", "certs", "license"),
        log=LOG,
        source="LIVE IMAGE",
        timeout=_TIMEOUT,
        persist=True,
        recover=restoring.recover,
        cancellable=True,
        privileged=True,
        input=vol.Schema({vol.Required("archive"): str, vol.Required("mode"): mode}),
    ),
]

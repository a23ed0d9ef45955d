"""The job of `/backup/restore`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance, Job, JobError, privileges
from jidoteki.hookspecs.mounts import bound_below, mounts_below
from jidoteki.plugins.backup import believing, left_out, restore_log, swapping
from jidoteki.plugins.backup.backup_list import Selection, selection
from jidoteki.plugins.backup.directory_metadata import settle
from jidoteki.plugins.backup.disks import Disks
from jidoteki.plugins.backup.error_messages import reason
from jidoteki.plugins.backup.journal import DamagedJournalError, Journal
from jidoteki.plugins.backup.kept_paths import Kept
from jidoteki.plugins.backup.own_backups import Origin
from jidoteki.plugins.backup.planning import Planner, Settle
from jidoteki.plugins.backup.preview import preview
from jidoteki.plugins.backup.pruning import prune
from jidoteki.plugins.backup.removals import Removals
from jidoteki.plugins.backup.restore_space import Room
from jidoteki.plugins.backup.validators import EXACT
from jidoteki.plugins.backup.volumes import MAIN, VolumeAbsentError, Volumes

CLEARING_TIMEOUT: Final = 1.0
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
_GONE: Final = "The restored data are gone from where they were unpacked"
logger = logging.getLogger(__name__)


def check(job: Job) -> None:
    """Unpack the archive beside the data, checking every member, and check that it can replace the data.

    :raises JobError: it is refused; nothing is left of it.
    """
    with privileges.raised():
        _check(job)


def _check(job: Job) -> None:
    job.log(f"{restore_log.BEGIN}{job.appliance.data}")
    journal = Journal(job.appliance, job.id)
    try:
        _unpack(job, journal)
    except BaseException as error:
        swapping.discard(job.appliance, journal, job.log)
        if isinstance(error, (JobError, OSError)):
            raise _refused(job, error, "The archive cannot be unpacked") from error
        raise
    if job.dry_run:
        swapping.discard(job.appliance, journal, job.log)


def _unpack(job: Job, journal: Journal) -> None:
    appliance = job.appliance
    believing.check_place(appliance)
    listed = selection(appliance)
    origin = Origin(appliance, Path(job.input["archive"]), partial(job.progress, 0))
    believing.check_origin(job, origin)
    swapping.finish_all(appliance, job.log, without=True)
    swapping.check_finished(appliance)
    swapping.remove_all(appliance, job.log)
    entry = journal.create()
    _make_data_directory(appliance.data)
    with ExitStack() as opened:
        volumes = Volumes(opened.enter_context(swapping.opened_data(appliance)), opened)
        made = volumes.make(MAIN, entry)
        disks = Disks(appliance.data, volumes, journal, listed)
        job.unpack(
            Path(job.input["archive"]), made.new, appliance.data, origin.is_own, disks.directory, disks.room(),
            true_owners=not job.config.get("allow-other-owners"), seen=origin.saw,
        )  # fmt: skip
        origin.check_restored()
        made.staging.take_list()
        left_behind: list[str] = []

        def tell(line: str) -> None:
            left_behind.append(line)
            job.log(line)

        prune(volumes, listed, tell)
        checkpoint = partial(job.progress, 0)
        removals = Removals(volumes, checkpoint)
        is_shown = job.dry_run and job.input["mode"] == EXACT
        for line in _planner(job, volumes, listed, reasons=disks.reasons).lines():
            if is_shown:
                removals.counted(line)
        if job.dry_run:
            job.preview(preview(appliance, [volume.new for volume in volumes], origin, checkpoint))
            if left_behind:
                job.preview({"warnings": left_behind})
        if is_shown:
            job.preview({"removes": removals.shown()})


def _make_data_directory(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)


def _planner(
    job: Job,
    volumes: Volumes,
    listed: Selection,
    settle: Settle | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Planner:
    exact = job.input["mode"] == EXACT
    try:
        missing = left_out.parse(volumes.main.staging.read_list(left_out.MAX_SIZE)) if exact else frozenset()
    except (OSError, ValueError, RecursionError) as error:
        raise JobError("The archive's list of what it lacks makes no sense") from error
    data = job.appliance.data
    kept = Kept(missing, mounts_below(data), bound_below(data))
    room = Room(job.host_config["limits"]["free-space"])
    return Planner(volumes, listed, kept, exact=exact, settle=settle, reasons=reasons or {}, room=room)


def restore(job: Job) -> None:
    """Replace the data with the unpacked tree.

    :raises JobError: that failed; the old data are still there.
    """
    with privileges.raised():
        _restore(job)


def _restore(job: Job) -> None:
    journal = Journal(job.appliance, job.id)
    job.progress(60)
    try:
        _commit(job, journal)
    except (JobError, OSError) as error:
        raise _refused(job, error, "The restore failed") from error
    finally:
        swapping.discard(job.appliance, journal, job.log)
    job.log(restore_log.COMPLETE)


def _commit(job: Job, journal: Journal) -> None:
    appliance = job.appliance
    with ExitStack() as opened:
        try:
            entry = journal.read()
        except DamagedJournalError as error:
            raise JobError("The journal of the restore makes no sense") from error
        if entry is None:
            raise JobError(_GONE)
        volumes = Volumes(opened.enter_context(swapping.opened_data(appliance)), opened)
        try:
            volumes.find(entry)
        except VolumeAbsentError as absent:
            raise JobError(f"{_GONE} in {absent.path}" if absent.path else _GONE) from absent
        planner = _planner(job, volumes, selection(appliance), settle)
        job.commit()
        if job.input["mode"] != EXACT:
            swapping.commit(journal, volumes, planner.lines(), job.log)
            return
        removals = Removals(volumes, partial(job.progress, 60))
        swapping.commit(journal, volumes, removals.passing(planner.lines()), job.log)
        removals.log(job.log)


def _refused(job: Job, error: JobError | OSError, what: str) -> JobError:
    if isinstance(error, OSError):
        error = JobError(f"{what}: {reason(error)}")
    job.log(error.message)
    job.log("Restore failed")
    return error


def recover(appliance: Appliance) -> str | None:
    """Complete killed restores and return a sentence about them; leftovers are removed in a thread.

    :raises OSError: one can neither be completed nor rolled back now.
    """
    with privileges.raised():
        complete = swapping.finish_all(appliance, logger.warning)
        if privileges.are_kept():  # in a process that ends now
            swapping.remove_all(appliance, logger.warning)
        else:
            thread = threading.Thread(target=_go_on, args=(appliance,), daemon=True)
            thread.start()
            thread.join(CLEARING_TIMEOUT)
    return f"All of the archive of {', '.join(complete)} is restored all the same" if complete else None


def _go_on(appliance: Appliance) -> None:
    """Remove finished restores, and complete others once it is possible: their disk may be mounted later.

    Removals that take long are continued after a pause.
    """
    tell: Callable[[str], None] = logger.warning
    pause = FIRST_PAUSE
    while True:
        with suppress(OSError):  # of a disk that may be there again later
            swapping.remove_all(appliance, tell)
            if not swapping.is_unfinished(appliance):
                return
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        tell = logger.debug
        with suppress(OSError):
            swapping.finish_all(appliance, tell)

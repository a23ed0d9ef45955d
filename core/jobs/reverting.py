"""Putting back what a run changed on trial that has died: a process of its own, under the id of that run."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import cancelling, exit_reasons, trying
from jidoteki.core.jobs.records import Record
from jidoteki.core.jobs.trying import CONFIRMED, NOT_PUT_BACK
from jidoteki.hookspecs import JobType, paths, trials
from jidoteki.hookspecs.free_space import FULL

if TYPE_CHECKING:
    from jidoteki.core.jobs.launch import Launcher

#: Attempts, each a process, until the service starts again.
MAX_ATTEMPTS: Final = 5
#: Attempts in which no process began, as systemd or the disk refused it: half an hour of them, with growing pauses.
MAX_UNSTARTED: Final = 34
#: Pieces of the reserve that are freed to start one on a full disk.
ROOM: Final = 32
#: Seconds between two attempts to start one, and between those on a disk that takes nothing for long.
TRY_EACH: Final = 2.0
TRY_EACH_AT_MOST: Final = 60.0

logger = logging.getLogger(__name__)


def is_due(launcher: Launcher, record: Record) -> bool:
    """Return whether what a dead run changed must be put back."""
    _, job = launcher.job_types.get(record.type, (None, None))
    if job is None or not _goes_on(job):
        return False
    state = trials.state(launcher.appliance.jobs, record.id)
    return state in ("trial", "reverting") or (state is None and job.revert is not None and _is_lost(launcher, record))


def _is_lost(launcher: Launcher, record: Record) -> bool:
    """Return whether a dead run was on a trial whose record is lost."""
    if not record.confirm or record.status != "running":
        return False
    left = any(os.path.lexists(launcher.appliance.jobs / f"{record.id}.{ending}") for ending in ("pending", "noted"))
    return left or cancelling.decided(launcher.appliance.tmp / record.id) == "committed"


def _goes_on(job: JobType) -> bool:
    return job.revert is not None or job.resume is not None


def _goes_how(launcher: Launcher, record: Record) -> str:
    _, job = launcher.job_types[record.type]
    return "What it changed is put back" if job.revert else "A new process goes on with it"


def any_due(launcher: Launcher, job_type: str) -> Record | None:
    """Return the last run of a type if what it changed must be put back, and nobody does so yet."""
    _, job = launcher.job_types.get(job_type, (None, None))
    if job is None or not _goes_on(job) or locks.is_held(launcher.lock(job_type)):
        return None
    record = launcher.records.latest(job_type)
    return record if record and is_due(launcher, record) else None


def begin_again(launcher: Launcher, record: Record) -> None:
    """Start the process for a run whose change could not be put back before, as the service starts."""
    reason = (record.error_message or "").partition(f". {NOT_PUT_BACK}")[0]
    begin(launcher, record, reason, again=True)


def begin(launcher: Launcher, record: Record, reason: str, again: bool = False) -> bool:
    """Start the process that puts back what a dead run changed; return whether one works on it.

    :param reason: why it is put back.
    :param again: whether earlier attempts do not count, as the service starts.
    :raises OSError: nothing can be recorded.
    """
    jobs = launcher.appliance.jobs
    try:
        lock = locks.take(launcher.lock(record.type))
    except locks.LockHeldError:
        return True
    try:
        trying.set_aside(launcher.appliance, record.id, ("trial", "reverting"))
        if trials.state(jobs, record.id) is None:
            trials.lose(launcher.appliance, record.id)
        if not trials.decide(jobs, record.id, "reverting"):
            return False  # it was confirmed at this moment
        if again:
            launcher.unstarted.pop(record.id, None)
        if trials.note_attempt(jobs, record.id, first=again) > MAX_ATTEMPTS:
            _give_up(record, reason, f"{MAX_ATTEMPTS} processes for that died")
            return False
        if record.status != "running":
            record.status, record.ended, record.error_message, record.error_code = "running", None, None, None
            launcher.records.write(record)
            launcher.records.mark_untold(record.id)
        logger.warning("%s: %s. %s", record.id, reason, _goes_how(launcher, record))
        try:
            _spawn(launcher, record, reason, lock)
        except OSError as error:
            trials.take_back_attempt(jobs, record.id)
            return _is_tried_again(launcher, record, reason, error)
        launcher.unstarted.pop(record.id, None)
        return True
    finally:
        os.close(lock)


def _is_tried_again(launcher: Launcher, record: Record, reason: str, error: OSError) -> bool:
    """Count an attempt in which no process began; return whether there will be another one."""
    why = leftovers.reason(error)
    logger.error("What %s changed cannot be put back now: %s", record.id, why)
    launcher.unstarted[record.id] += 1
    if launcher.unstarted[record.id] < MAX_UNSTARTED:
        return True
    _give_up(record, reason, f"no process for that can be started: {why}")
    return False


def _give_up(record: Record, reason: str, why: str) -> None:
    record.fail(f"{reason}. {NOT_PUT_BACK}: {why}", trials.CODE if record.confirm else trials.LOST)
    record.unrecovered = True


def _spawn(launcher: Launcher, record: Record, reason: str, lock: int) -> None:
    for tries_left in (1, 0):
        launcher.clear(record.id)
        try:
            with open(paths.append_regular(launcher.records.log(record.id)), "ab") as log:
                process = launcher.process(record, {}, lock, log.fileno(), log.fileno(), reverting=reason)
        except OSError as error:
            if error.errno not in FULL or not tries_left or not launcher.records.reserve.release(ROOM):
                raise
        else:
            exit_reasons.remember(launcher.records.path(record.id), process)
            launcher.reverting[record.id] = process
            return


def confirmed(launcher: Launcher, record: Record) -> str | None:
    """Return what to say of a dead run whose change was confirmed, which stays; None for any other."""
    return CONFIRMED if trials.state(launcher.appliance.jobs, record.id) == "confirmed" else None

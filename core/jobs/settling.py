"""The end of runs: those that died are recorded as failed, and what any run left is cleared away."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from jidoteki.core import files
from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import (
    asking,
    cancelling,
    exit_reasons,
    logs,
    lost_records,
    processes,
    recovering,
    reverting,
    trying,
    units,
)
from jidoteki.core.jobs.records import Record
from jidoteki.core.plugin_manager.isolation import told
from jidoteki.core.plugin_manager.manager import PluginError
from jidoteki.hookspecs import programs, trials
from jidoteki.hookspecs.boots import boot_id

if TYPE_CHECKING:
    from jidoteki.core.jobs.launch import Launcher

RECOVERY_TIMEOUT = 600.0
UNRECOVERED = (
    "What it left half done could not be put right, for a reason that is in the service's log; that is tried again "
    "when the service or the next job of this type starts"
)
#: Attempts, 10 ms apart: as long as another process may take for the same.
TRIES = 60_000

logger = logging.getLogger(__name__)


def recover(launcher: Launcher) -> None:
    """Settle the runs that died, and clear away what they left; call it once, when the service starts."""
    launcher.records.reserve.keep()
    lost_records.write_anew(launcher)
    job_types = set(launcher.job_types)
    with leftovers.tolerated("The records of jobs cannot be read"):
        job_types |= {id.partition("-")[2] for id in launcher.records.ids()}
    _forget_ended(launcher, job_types)
    on_trial = _on_trial(launcher, job_types)
    _settle_dead(launcher, job_types - on_trial)
    with leftovers.tolerated(f"{launcher.appliance.tmp} cannot be cleared"):
        for name in os.listdir(launcher.appliance.tmp):
            # `NUMBER-KIND` is the work space of a run, `TYPE` what all runs of a type share.
            job_type = name.partition("-")[2] or name
            if job_type not in on_trial and not locks.is_held(launcher.lock(job_type)):
                launcher.clear(name)
    with leftovers.tolerated("Which jobs run cannot be found out"):
        if not any(locks.is_held(launcher.lock(job_type)) for job_type in job_types):
            launcher.appliance.recover()
    _settle_dead(launcher, on_trial)  # last, as processes begin that write files


def _on_trial(launcher: Launcher, job_types: set[str]) -> set[str]:
    """Return the types whose last run changed something that must be put back."""
    found = set()
    for job_type in job_types:
        with leftovers.tolerated(f"Whether the last {job_type} is on trial cannot be found out"):
            if reverting.any_due(launcher, job_type):
                found.add(job_type)
    return found


def _forget_ended(launcher: Launcher, job_types: set[str]) -> None:
    """Forget the trials of runs that recorded their end, and were killed before they could."""
    jobs = launcher.appliance.jobs
    with leftovers.tolerated("The trials of changes that have ended cannot be forgotten"):
        for id in (id for job_type in job_types for id in trials.unended(jobs, job_type)):
            record = launcher.records.read(id)
            if record and record.status != "running" and not record.unrecovered:
                trying.clear(launcher.appliance, id)


def _settle_dead(launcher: Launcher, job_types: set[str]) -> None:
    for job_type in sorted(job_types):
        with leftovers.tolerated(f"What became of the last {job_type} cannot be found out"):
            settle_all(launcher, job_type, lambda job_type: not locks.is_held(launcher.lock(job_type)))


def settle_all(launcher: Launcher, job_type: str, dead: Callable[[str], bool] = lambda job_type: True) -> None:
    """Settle the runs of a type that claim to run, and recover again from those where that failed.

    :param dead: asked of each after its record was read whether no run of the type has its lock.
    """
    for id in launcher.records.ids(job_type):
        record = launcher.records.read(id)
        if record and record.status == "running" and dead(job_type):
            settle(launcher, record)
        elif record and record.unrecovered and dead(job_type):
            _recover_again(launcher, record)


def settle(launcher: Launcher, record: Record, reason: str | None = None) -> Record:
    """Record the end of a run whose process is gone, unless it did so itself or another process has, and clear it away.

    A process is started where what it changed on trial must be put back: the run goes on until that is done.

    :param reason: why it died; found out by default.
    :return: how it ended, or that it goes on.
    :raises OSError: that cannot be stored.
    """
    with locks.holding(launcher.appliance.jobs / "settle_job.lock", TRIES):
        record = launcher.records.read(record.id) or record
        if record.status == "running":
            if launcher.has_unit(record.type):
                units.stop(record.id)
            if record.boot == boot_id() and record.pid and not processes.is_alive(record.pid):
                processes.kill_rest(record.pid, f"{programs.ADMIN}={launcher.appliance.admin}")
            reason = reason or exit_reasons.reason(launcher.records.path(record.id))
            with leftovers.tolerated("Files that were being replaced together are old and new"):
                files.finish_replacing(launcher.appliance.jobs)
            if reverting.is_due(launcher, record) and reverting.begin(launcher, record, reason):
                return record
            if record.status == "running":
                end(launcher, record, reason)
            _finish(launcher, record)
        launcher.clear(record.id)
    return record


def end(launcher: Launcher, record: Record, reason: str | None = None) -> None:
    """Set how a dead run ended that nothing goes on with; store nothing.

    :param reason: why it died; found out by default.
    """
    if cancelling.decided(launcher.appliance.tmp / record.id) == "cancelled":
        record.end("cancelled")
    else:
        record.fail(reason or exit_reasons.reason(launcher.records.path(record.id)))


def _finish(launcher: Launcher, record: Record) -> None:
    """Store how a dead job ended, once what it left half done is put right."""
    if not record.unrecovered:
        _add(record, reverting.confirmed(launcher, record) or _recovered(launcher, record))
        record.unrecovered |= trials.state(launcher.appliance.jobs, record.id) in ("trial", "reverting")
    _log(launcher, record, record.error_message)  # as it would have itself
    launcher.save(record)
    trying.forget(launcher.appliance, record)


def _recover_again(launcher: Launcher, record: Record) -> None:
    """Call the recovery from a dead job that failed before."""
    with locks.holding(launcher.appliance.jobs / "settle_job.lock", TRIES):
        if reverting.is_due(launcher, record):
            reverting.begin_again(launcher, record)
            return
        said = _recovered(launcher, record)
        if not record.unrecovered:
            _add(record, said)
            _log(launcher, record, said)
            launcher.records.write(record)


def _add(record: Record, said: str | None) -> None:
    if said and record.error_message:
        record.error_message = f"{record.error_message}. {said}"


def _log(launcher: Launcher, record: Record, message: str | None) -> None:
    _, job = launcher.job_types.get(record.type, (None, None))
    if job and message:
        log = logs.of(launcher.appliance, job, launcher.records.log(record.id))
        log.line(message)
        log.close()


def _recovered(launcher: Launcher, record: Record) -> str | None:
    """Call the plugin's recovery from the dead job, and return its message; note in the record whether it failed."""
    plugin, job = launcher.job_types.get(record.type, (None, None))
    record.unrecovered = False
    if plugin is None or job is None or job.recover is None:
        return None
    if launcher.has_unit(job.name):
        return _recovered_in_unit(launcher, record)
    recover, given = recovering.call_of(job.recover, launcher.appliance, plugin.section)
    calls = launcher.plugins.calls
    try:
        said = calls.within(plugin.name, f"the recovery of {job.name}", RECOVERY_TIMEOUT, lambda: recover(*given))
    except PluginError as error:
        message = "The plugin %s could not recover from a dead %s job: %s"
        logger.error(message, plugin.name, job.name, told(error), exc_info=calls.first(error))
        record.unrecovered = True
        return UNRECOVERED
    return said if isinstance(said, str) else None


def _recovered_in_unit(launcher: Launcher, record: Record) -> str | None:
    """Have a job recovered whose files root alone may put right."""
    told = asking.recover(launcher, record, RECOVERY_TIMEOUT)
    if failed := told.get("failed"):
        logger.error("What %s left half done could not be put right: %s", record.id, failed)
        record.unrecovered = True
        return UNRECOVERED
    said = told.get("said")
    return said if isinstance(said, str) else None

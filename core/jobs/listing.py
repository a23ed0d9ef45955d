"""The records and logs of runs for the API. All functions read the disk: call them in a thread."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jidoteki.core import files
from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import cancelling, exit_reasons, reverting, settling, status_files
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.jobs.records import Record, Records, is_id
from jidoteki.hookspecs import JobRecord, JobType

#: Nanoseconds after which another write to a file is certain to change its time.
SETTLED: Final = 2 * 10**9
#: Seconds for which a list is reused, even if a record was changed in place.
FRESH: Final = 1.0
LOG_LINES: Final = 10
PAST: Final = "The job is past the point where it can be cancelled: what it changes now must become whole"

Identity = tuple[int, int, int, int]


class Seen:
    """A cache of the runs that have ended, each valid while its file's identity does not change."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Identity, JobRecord]] = {}
        self._whole: tuple[float, int, list[JobRecord]] | None = None

    def unchanged(self, launcher: Launcher) -> list[JobRecord] | None:
        """Return the result of `newest` from the last second, if no file was added, removed or replaced since.

        This does not block, unlike all others here.
        """
        if self._whole is None:
            return None
        read, changed, records = self._whole
        if time.monotonic() - read > FRESH or changed != changed_at(launcher.records.directory):
            return None
        return list(records)

    def newest(self, launcher: Launcher) -> list[JobRecord]:
        """Return all recorded runs, the newest first."""
        read, changed = time.monotonic(), changed_at(launcher.records.directory)
        known, settled, shown = self._known, {}, []
        before = time.time_ns() - SETTLED
        for id in reversed(launcher.records.ids()):
            identity = _identity(f"{launcher.records.directory}/{id}.json")
            kept = known.get(id)
            if identity and kept and kept[0] == identity:
                record: JobRecord | None = kept[1]
            else:
                record = one(launcher, id)
            if record is None:
                continue
            shown.append(record)
            if identity and identity[0] < before and record.status != "running":
                settled[id] = identity, record
        self._known = settled
        if changed and changed < before and len(settled) == len(shown):
            self._whole = read, changed, shown
        return list(shown)


def changed_at(directory: Path) -> int:
    """Return when an entry of a directory last changed; 0 if that is unknown."""
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


def _identity(path: str) -> Identity | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino


def one(launcher: Launcher, id: str) -> JobRecord | None:
    """Return one run, or None."""
    record = current(launcher, id)
    if record is None:
        return None
    if record.status == "running" and record.type in launcher.job_types:
        job = launcher.job_types[record.type][1]
        record.percentage = status_files.percentage(launcher.appliance.etc, job, record)
        return dataclasses.replace(record.shown(), cancellable=why_not(launcher, record) is None)
    return record.shown()


def why_not(launcher: Launcher, record: Record) -> str | None:
    """Return why a run cannot be cancelled now, or None."""
    if record.status != "running":
        return ended(record.status)
    if record.type not in launcher.job_types or not launcher.job_types[record.type][1].cancellable:
        return f"Jobs of the type {record.type} cannot be cancelled"
    return PAST if cancelling.decided(launcher.appliance.tmp / record.id) == "committed" else None


def status(launcher: Launcher, type: str) -> dict[str, Any]:
    """How the last run of a type went, or goes, be it another tool's.

    :return: `{"status", "percentage", "log", "error-message"?, "error-code"?}`, and what else such a tool says.
    """
    job = launcher.job_types[type][1]
    shown = _status(launcher, type, job)
    errors = {key: shown.pop(key) for key in status_files.ERRORS if key in shown}
    try:  # after the rest: the log of a run that has ended is whole
        log = files.tail(launcher.appliance.log / (job.log or f"{job.name}.log"), LOG_LINES)
    except OSError:
        log = None
    return shown | {"log": log} | errors


def _restarting(record: Record | None) -> dict[str, str]:
    return {"restarting": record.restarting} if record and record.restarting else {}


def _status(launcher: Launcher, type: str, job: JobType) -> dict[str, Any]:
    records = launcher.records
    record = records.latest(type)
    if record is not None and _has_died(launcher, record):
        record = records.latest(type) or record  # it may have recorded its outcome after it was read
        if record.status == "running":
            settling.end(launcher, record)
            return status_files.ended(record)
    told = status_files.shown(launcher.appliance.etc, job, record, lambda: launcher.is_running(type))
    return {**told, **_restarting(record)}


def last_failed(launcher: Launcher) -> Iterator[Record]:
    """Yield the last run of each type that failed."""
    for type in launcher.job_types:
        record = None
        with leftovers.tolerated(f"Whether the last {type} failed cannot be found out"):
            record = launcher.records.latest(type)
        if record and record.status == "failed":
            yield record


def ended(status: str) -> str:
    """Return the reason why a run that has ended is not cancelled."""
    return f"The job has ended already: {status}"


def current(launcher: Launcher, id: str) -> Record | None:
    """Return a record with its actual status: one whose process has died has ended, unless another goes on with it."""
    records = launcher.records
    record = records.read(id) if is_id(id) else None
    if record is None or not _has_died(launcher, record):
        return record
    record = records.read(id) or record  # it may have recorded its outcome after it was read
    if record.status == "running":
        settling.end(launcher, record)
        record.ended = None  # the time is unknown
    return record


def _has_died(launcher: Launcher, record: Record) -> bool:
    """Return whether a run has died that nobody settles, nor will put back or go on with."""
    if record.status != "running" or locks.is_held(launcher.lock(record.type)):
        return False
    return not (exit_reasons.is_awaited(launcher.records.path(record.id)) or reverting.is_due(launcher, record))


def log_file(records: Records, id: str) -> Path | None:
    """Return the path of a run's log; None if there is no such run, or it has no log."""
    path = records.log(id) if is_id(id) and records.read(id) else None
    return path if path and os.path.lexists(path) else None


def last_lines(records: Records, id: str, lines: int) -> str | None:
    """Return the end of a run's log; None if there is no such run, or its log is empty or unreadable."""
    try:
        return files.tail(records.log(id), lines) if is_id(id) else None
    except OSError:
        return None

"""What is shown of the runs of jobs. Everything here reads the disk and belongs in a thread."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Final

from jidoteki.core import files
from jidoteki.core.files import locks
from jidoteki.core.jobs import cancelling, exit_reasons, status_files
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.jobs.records import Record, Records, is_id
from jidoteki.hookspecs import JobRecord

#: Nanoseconds after which a file that is written once more has another time than before.
SETTLED: Final = 2 * 10**9
#: Seconds for which a list is good, even if somebody wrote into a record.
FRESH: Final = 1.0
PAST: Final = "The job is past the point where it can be cancelled: what it changes now must become whole"

Identity = tuple[int, int, int, int]


class Seen:
    """The runs that have ended, as they were read; each is read again when its file is another one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Identity, JobRecord]] = {}
        self._whole: tuple[float, int, list[JobRecord]] | None = None

    def unchanged(self, launcher: Launcher) -> list[JobRecord] | None:
        """What `newest` returned within the last second, if no file can have come, gone or been replaced since.

        Unlike everything else here, it does not belong in a thread.
        """
        if self._whole is None:
            return None
        read, changed, records = self._whole
        if time.monotonic() - read > FRESH or changed != _changed(launcher.records.directory):
            return None
        return list(records)

    def newest(self, launcher: Launcher) -> list[JobRecord]:
        """Every run that is still known, the newest first."""
        read, changed = time.monotonic(), _changed(launcher.records.directory)
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


def _changed(directory: Path) -> int:
    """When a file of a directory came, went or was replaced; 0 where that cannot be told."""
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
    """One run; None when there is no such one."""
    record = current(launcher.records, id)
    if record is None:
        return None
    if record.status == "running" and record.type in launcher.job_types:
        job = launcher.job_types[record.type][1]
        record.percentage = status_files.percentage(launcher.appliance.etc, job, record)
        return dataclasses.replace(record.shown(), cancellable=why_not(launcher, record) is None)
    return record.shown()


def why_not(launcher: Launcher, record: Record) -> str | None:
    """Why a run cannot be cancelled now; None where it can."""
    if record.status != "running":
        return ended(record.status)
    if record.type not in launcher.job_types or not launcher.job_types[record.type][1].cancellable:
        return f"Jobs of the type {record.type} cannot be cancelled"
    return PAST if cancelling.decided(launcher.appliance.tmp / record.id) == "committed" else None


def ended(status: str) -> str:
    """Why a run that has ended is not cancelled."""
    return f"The job has ended already: {status}"


def current(records: Records, id: str) -> Record | None:
    """A record as it is true now: of one that claims to run while nothing does, that it failed."""
    record = records.read(id) if is_id(id) else None
    if record is None or record.status != "running" or locks.is_held(records.lock(record.type)):
        return record
    record = records.read(id) or record  # it may have ended, and recorded so, since it was read
    if record.status == "running":
        record.fail(exit_reasons.reason(records.path(id)))
        record.ended = None  # nobody knows when
    return record


def log_file(records: Records, id: str) -> Path | None:
    """The log of one run; None when there is no such run, or it has none."""
    path = records.log(id) if is_id(id) and records.read(id) else None
    return path if path and os.path.lexists(path) else None


def last_lines(records: Records, id: str, lines: int) -> str | None:
    """The end of the log of one run; None when there is no such run, or its log is empty or cannot be read."""
    try:
        return files.tail(records.log(id), lines) if is_id(id) else None
    except OSError:
        return None

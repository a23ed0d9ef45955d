"""What is shown of the runs of jobs. Everything here reads the disk and belongs in a thread."""

from __future__ import annotations

from jidoteki.core import files
from jidoteki.core.files import locks
from jidoteki.core.jobs import deaths, status_files
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.jobs.records import Record, Records, is_id
from jidoteki.hookspecs import JobRecord


def newest(launcher: Launcher) -> list[JobRecord]:
    """Every run that is still known, the newest first."""
    return [found for id in reversed(launcher.records.ids()) if (found := one(launcher, id))]


def one(launcher: Launcher, id: str) -> JobRecord | None:
    """One run; None when there is no such one."""
    record = current(launcher.records, id)
    if record is None:
        return None
    if record.status == "running" and record.kind in launcher.kinds:
        job = launcher.kinds[record.kind][1]
        record.percentage = status_files.percentage(launcher.appliance.etc, job, record)
    return record.shown()


def current(records: Records, id: str) -> Record | None:
    """A record as it is true now: of one that claims to run while nothing does, that it failed."""
    record = records.read(id) if is_id(id) else None
    if record is None or record.status != "running" or locks.is_held(records.lock(record.kind)):
        return record
    record = records.read(id) or record  # it may have ended, and recorded so, since it was read
    if record.status == "running":
        record.fail(deaths.reason(records.path(id)))
        record.ended = None  # nobody knows when
    return record


def last_lines(records: Records, id: str, lines: int) -> str | None:
    """The end of the log of one run; None when there is no such run, or its log is empty or cannot be read."""
    try:
        return files.tail(records.log(id), lines) if is_id(id) else None
    except OSError:
        return None

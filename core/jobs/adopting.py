"""Finding the runs that another process started: the command line, or the service before this one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Container
from dataclasses import dataclass, field

from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import exit_reasons, settling
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import Record

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Found:
    """Runs that nobody watches here.

    :param running: with their processes; None where a process puts back what a dead run changed.
    :param ended: those whose end nobody was told of.
    :param unclear: whether there are some that begin or end at this moment.
    """

    running: list[tuple[Record, JobProcess | None]] = field(default_factory=list)
    ended: list[Record] = field(default_factory=list)
    unclear: bool = False


def find(launcher: Launcher, watched: Container[str]) -> Found:
    """Look for runs that are not watched; blocks.

    :param watched: the ids of those that are.
    """
    found = Found()
    with leftovers.tolerated("The jobs that other processes started cannot be found"):
        untold = launcher.records.untold()
        for id in sorted({*untold, *_last_of_the_held(launcher)}):
            record = None if id in watched else launcher.records.read(id)
            if record is None:
                continue
            lock = launcher.lock(record.type)
            if record.status != "running" or not locks.is_held(lock):
                if id in untold:
                    _sort_in(found, launcher, _settled(launcher, record))
            elif id in launcher.reverting:
                found.running.append((record, None))
            elif process := launcher.found(record):
                found.running.append((record, process))
            else:
                found.unclear = True
    return found


def _sort_in(found: Found, launcher: Launcher, settled: Record) -> None:
    if settled.status != "running":
        found.ended.append(settled)
    elif settled.id in launcher.reverting:
        found.running.append((settled, None))
    else:
        found.unclear = True


def _last_of_the_held(launcher: Launcher) -> list[str]:
    """The last run of each type whose lock is held: it runs, or the next one begins."""
    ids = launcher.records.ids()
    last = {id.partition("-")[2]: id for id in ids}
    return [id for job_type, id in last.items() if locks.is_held(launcher.lock(job_type))]


def _settled(launcher: Launcher, record: Record) -> Record:
    try:
        return settling.settle(launcher, record)
    except OSError:
        logger.exception("The end of %s cannot be recorded", record.id)
        record.fail(exit_reasons.UNRECORDED)
        return record


def begun(record: Record) -> Record:
    """A record as it was when the run began."""
    return dataclasses.replace(record, status="running", percentage=0, ended=None, error_message=None, error_code=None)

"""Records that cannot be read when the service starts, such as one that a power cut left empty.

What else lies there of such a run says that it had not ended: its record is written anew, so that it is settled as any
run that died is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs.records import Record
from jidoteki.core.jobs.trying import LEFT
from jidoteki.hookspecs import trials

if TYPE_CHECKING:
    from jidoteki.core.jobs.launch import Launcher

#: Pieces of the reserve that are freed to write one on a full disk.
ROOM: Final = 4
#: Attempts, 10 ms apart, to take the lock of a run: its process may be dying.
TRIES: Final = 500

logger = logging.getLogger(__name__)


def write_anew(launcher: Launcher) -> None:
    """Write the lost records of unended runs anew, but for those that live; call it once, when the service starts."""
    with leftovers.tolerated("Whether records of jobs are lost cannot be found out"):
        for id in sorted(_unended(launcher)):
            with leftovers.tolerated(f"The record of {id} is lost, and cannot be written anew"):
                if launcher.records.read(id) is None:
                    _write_anew_unless_written(launcher, id)


def _write_anew_unless_written(launcher: Launcher, id: str) -> None:
    """Write a record anew, but for that of a run that has written it itself by the time its lock is let go."""
    with locks.holding(launcher.lock(_type(id)), TRIES):
        if launcher.records.read(id) is None:
            _write_anew(launcher, id)


def _type(id: str) -> str:
    return id.partition("-")[2]


def _unended(launcher: Launcher) -> set[str]:
    """Return the ids of the runs that had not ended, or whose end is still to be told."""
    records = launcher.records
    untold = {id for id in records.untold() if os.path.lexists(records.path(id))}
    return untold.union(*(records.ids(suffix=ending) for ending in LEFT))


def _write_anew(launcher: Launcher, id: str) -> None:
    records, path = launcher.records, launcher.records.path(id)
    _, job = launcher.job_types.get(_type(id), (None, None))
    confirm = 0
    if job and job.revert and any(each.suffix != ".former" for each in _left(launcher, id)):
        confirm = trials.MIN_SECONDS  # how many it were is lost
    started = min((each.lstat().st_mtime for each in _left(launcher, id)), default=0.0)
    record = Record(id, _type(id), started=max(0.0, started), persist=bool(job and job.persist), confirm=confirm)
    logger.error("The record of %s cannot be read: it is written anew, as of a run that died", id)
    if path.is_dir() and not path.is_symlink():
        leftovers.set_aside(path)
    records.reserve.using(ROOM, lambda: records.write(record))
    records.mark_untold(id)


def _left(launcher: Launcher, id: str) -> Iterator[Path]:
    """Yield what lies there of an unended run."""
    paths = (launcher.appliance.jobs / f"{id}.{ending}" for ending in LEFT)
    return (each for each in paths if os.path.lexists(each))

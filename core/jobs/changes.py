"""Changes that must survive a reboot: a reboot waits for running ones, and prevents new ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from jidoteki.core.files import locks
from jidoteki.core.jobs.records import TYPE_NAME, Record, Records
from jidoteki.hookspecs import Job, JobError, trials

WAIT_TIMEOUT: Final = 600.0
"""Seconds: longer than the commands of a change take, unless `limits.command` is long."""
SETTLE_TIMEOUT: Final = 10.0
"""Seconds in which the service repairs what a killed change left."""
LOOK_EACH: Final = 0.1
_GOING_DOWN: Final = "going_down.lock"  # not a job type's: their names contain no `_`
#: Attempts, 10 ms apart: a minute, as a start takes on a slow machine, or for root.
_TRIES: Final = 6000


def are_over(jobs: Path) -> bool:
    """Return whether the system is shutting down, so that no change may start.

    :param jobs: the directory of the records.
    """
    return locks.is_held(jobs / _GOING_DOWN)


def starting(jobs: Path) -> AbstractContextManager[None]:
    """Start jobs alone, of all processes, in a `with` block.

    :param jobs: the directory of the records.
    :raises OSError: another process does so for too long, or no file can be made there.
    """
    return locks.holding(jobs / "start.lock", _TRIES)


class Changes:
    """The running changes, as the job sees them that shuts the system down; one that is a change itself does not count.

    :param percentage: how far that job is.
    """

    def __init__(self, job: Job, percentage: int = 0) -> None:
        self._job = job
        self._percentage = percentage
        self._directory = job.appliance.jobs
        self._records = Records(self._directory)

    def wait(self) -> None:
        """Wait until no change is running, and log the outcome of each.

        :raises JobError: E1004, one takes too long.
        """
        deadline = time.monotonic() + WAIT_TIMEOUT
        waited_for = ""
        while running := self._running():
            self._end_trial(running)
            if running.id != waited_for:
                self._log_end(waited_for)
                self._job.log(f"Waiting for the end of {running.id}, which changes what is to be kept")
                waited_for = running.id
            if time.monotonic() > deadline:
                message = f"{running.id} has not ended within {WAIT_TIMEOUT:g} seconds; the system does not reboot"
                raise JobError(message, "E1004")
            self._pause()
        self._settle()
        self._log_end(waited_for)

    @contextmanager
    def none_begins(self) -> Iterator[None]:
        """Wait until no change is running, and prevent new ones within the block.

        :raises JobError: as `wait` does.
        """
        lock = None
        while lock is None:
            self.wait()
            with starting(self._directory):
                if self._running() is None:
                    lock = locks.take(self._directory / _GOING_DOWN, _TRIES)
        try:
            yield
        finally:
            os.close(lock)

    def _end_trial(self, running: Record) -> None:
        """Have put back a change that waits for its confirmation, which it could not get while the system is down."""
        trial = trials.find(self._directory, running.type)
        if trial and trial.is_waiting and trials.decide(self._directory, trial.id, "reverting"):
            self._job.log(f"{trial.id} waits for its confirmation and is put back")

    def _running(self) -> Record | None:
        """Return the record of a running change, or None."""
        return next((each for each in self._unended() if locks.is_held(self._records.lock(each.type))), None)

    def _unended(self) -> Iterator[Record]:
        """Yield the last record of each job type that changes persistent data, if it has no outcome."""
        for path in sorted(self._directory.glob("*.lock")):
            record = self._records.latest(path.stem) if TYPE_NAME.fullmatch(path.stem) else None
            if record and record.persist and record.status == "running" and record.id != self._job.id:
                yield record

    def _settle(self) -> None:
        """Wait briefly for the service to repair what killed changes left."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while next(self._unended(), None) and time.monotonic() < deadline:
            self._pause()

    def _log_end(self, id: str) -> None:
        record = self._records.read(id) if id else None
        if record and record.status != "running":
            self._job.log(f"{id} has ended: {record.status}")

    def _pause(self) -> None:
        self._job.progress(self._percentage)
        time.sleep(LOOK_EACH)

"""Changes that must outlive a reboot: it waits until they are made, and none begins once the system goes down."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jidoteki.core.files import locks
from jidoteki.core.jobs.records import TYPE_NAME, Record, Records
from jidoteki.hookspecs import Job, JobError

WAIT_TIMEOUT: Final = 600.0
"""Seconds: more than the commands of a change take, unless `limits.command` is long."""
SETTLE_TIMEOUT: Final = 10.0
"""Seconds that the service has to put right what a change left that was killed."""
LOOK_EACH: Final = 0.1
_GOING_DOWN: Final = "going_down.lock"  # of no job type: none has `_` in its name
_TRIES: Final = 6000


def are_over(jobs: Path) -> bool:
    """Whether the system goes down, and no change may begin any more.

    :param jobs: the directory of the records.
    """
    return locks.is_held(jobs / _GOING_DOWN)


class Changes:
    """The changes that are being made, as the job sees them that takes the system down."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._directory = job.appliance.jobs
        self._records = Records(self._directory)

    def wait(self) -> None:
        """Wait until none is being made; what becomes of each is in the log.

        :raises JobError: E1004, one is for too long.
        """
        deadline = time.monotonic() + WAIT_TIMEOUT
        waited_for = ""
        while running := self._running():
            if running.id != waited_for:
                self._tell_end(waited_for)
                self._job.log(f"Waiting for the end of {running.id}, which changes what is to be kept")
                waited_for = running.id
            if time.monotonic() > deadline:
                message = f"{running.id} has not ended within {WAIT_TIMEOUT:g} seconds; the system does not reboot"
                raise JobError(message, "E1004")
            self._pause()
        self._settle()
        self._tell_end(waited_for)

    @contextmanager
    def none_begins(self) -> Iterator[None]:
        """Wait until none is being made, and let none begin within the block.

        :raises JobError: as `wait` does.
        """
        lock = None
        while lock is None:
            self.wait()
            with locks.holding(self._directory / "start.lock", _TRIES):
                if self._running() is None:
                    lock = locks.take(self._directory / _GOING_DOWN, _TRIES)
        try:
            yield
        finally:
            os.close(lock)

    def _running(self) -> Record | None:
        """The run of one that is being made."""
        return next((each for each in self._unended() if locks.is_held(self._records.lock(each.type))), None)

    def _unended(self) -> Iterator[Record]:
        """The last run of each type, if it is a change and its record does not say how it ended."""
        for path in sorted(self._directory.glob("*.lock")):
            record = self._records.latest(path.stem) if TYPE_NAME.fullmatch(path.stem) else None
            if record and record.persist and record.status == "running":
                yield record

    def _settle(self) -> None:
        """Wait a little for the service to put right what was killed."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while next(self._unended(), None) and time.monotonic() < deadline:
            self._pause()

    def _tell_end(self, id: str) -> None:
        record = self._records.read(id) if id else None
        if record and record.status != "running":
            self._job.log(f"{id} has ended: {record.status}")

    def _pause(self) -> None:
        self._job.progress(0)
        time.sleep(LOOK_EACH)

"""Changes on trial: they are put back unless somebody confirms them in time.

The record of a trial is written before anything is changed: `ID.trial` in `ADMIN/jobs`, whose ending is its state. Who
confirms it and who ends it both rename that file, so exactly one of them succeeds, whatever dies meanwhile, and on a
full disk, too. Beside it lies `ID.pending` while the trial waits for its confirmation. Times are those of the boot
clock, which no setting of the time of day changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import voluptuous as vol

from jidoteki.hookspecs import paths
from jidoteki.hookspecs.appliance import Appliance

CODE: Final = "E2001"
"""The error code of a job whose change was put back."""
FAILED: Final = "E2003"
"""The error code of an update that was not verified."""
LOST: Final = "E2004"
"""The error code of a job whose change failed, and whose way back did, too."""
TOLD: Final = (CODE, FAILED, LOST)
"""The codes that `/health` and the audit log tell of."""
MIN_SECONDS: Final = 10
MAX_SECONDS: Final = 3600
SECONDS: Final = vol.All(int, vol.Any(0, vol.Range(MIN_SECONDS, MAX_SECONDS)))
"""The validator of a default in a plugin's section: 0 for none."""

State = Literal["trial", "confirmed", "reverting"]
_PENDING: Final = "pending"
_STATE: Final = "state"
"""Where a job that goes on by itself keeps how far it is."""
_MAX_SIZE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trial:
    """A change that is put back unless it is confirmed.

    :param id: of the job that made it.
    :param pending: what is to be confirmed, as told to `Job.await_confirmation`; None until then.
    :param seconds_left: until it is put back; None until it waits for the confirmation.
    """

    id: str
    pending: Mapping[str, Any] | None = None
    seconds_left: int | None = None
    deadline: float = field(default=0.0, repr=False, compare=False)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its confirmation: the change itself is complete."""
        return self.pending is not None


def now() -> float:
    """Return the seconds since the boot, which counts while the system is suspended and cannot be set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def begin(appliance: Appliance, id: str) -> None:
    """Record durably that a run begins to change something on trial.

    :raises OSError: that is impossible, so nothing may be changed.
    """
    appliance.replace_file(_path(appliance.jobs, id, "trial"), "", 0o600)


def lose(appliance: Appliance, id: str) -> None:
    """Record durably that a change is put back the record of whose trial is lost.

    :raises OSError: that is impossible.
    """
    appliance.replace_file(_path(appliance.jobs, id, "reverting"), "", 0o600)


def wait(appliance: Appliance, id: str, seconds: float, pending: Mapping[str, Any]) -> float:
    """Record that a change is complete and waits for its confirmation; return the deadline.

    :param pending: what is to be confirmed.
    :raises OSError: that is impossible, so it cannot be confirmed.
    """
    deadline = now() + seconds
    content = {"deadline": deadline, "pending": dict(pending)}
    appliance.replace_file(appliance.jobs / f"{id}.{_PENDING}", json.dumps(content) + "\n", 0o600)
    return deadline


def state(jobs: Path, id: str) -> State | None:
    """Return the state of a run's trial; None if it is on none, or on none any more.

    :param jobs: the directory of the records.
    """
    # A trial that is decided meanwhile is renamed: whoever looks for its end first may find neither.
    states: tuple[State, ...] = ("trial", "confirmed", "reverting")
    return next((each for each in states if _path(jobs, id, each).exists()), None)


def decide(jobs: Path, id: str, outcome: Literal["confirmed", "reverting"]) -> bool:
    """End a trial unless it has ended; return whether this is how it ended.

    :raises OSError: that cannot be recorded.
    """
    try:
        _path(jobs, id, "trial").rename(_path(jobs, id, outcome))
    except FileNotFoundError:
        return state(jobs, id) == outcome
    paths.sync_directory(jobs)
    return True


def find(jobs: Path, job_type: str) -> Trial | None:
    """Return the trial of a job type that neither was confirmed nor is being put back, or None."""
    for path in sorted(jobs.glob(f"*-{job_type}.trial"), reverse=True):
        if path.stem.partition("-")[2] == job_type:
            return _read(jobs, path.stem)
    return None


def unended(jobs: Path, job_type: str) -> list[str]:
    """Return the ids of the runs of a job type whose trial left a record."""
    found = {path.stem for state in get_args(State) for path in jobs.glob(f"*-{job_type}.{state}")}
    return sorted(id for id in found if id.partition("-")[2] == job_type)


def forget(jobs: Path, id: str) -> None:
    """Remove the record of a trial, once the outcome of its run is recorded."""
    for ending in (_PENDING, _STATE, *get_args(State)):
        (jobs / f"{id}.{ending}").unlink(missing_ok=True)
    paths.sync_directory(jobs)


def _path(jobs: Path, id: str, state: State) -> Path:
    return jobs / f"{id}.{state}"


def _read(jobs: Path, id: str) -> Trial:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        content = json.loads(paths.read_own(jobs / f"{id}.{_PENDING}", _MAX_SIZE))
        deadline = float(content["deadline"])
        return Trial(id, dict(content["pending"]), max(0, round(deadline - now())), deadline)
    return Trial(id)


def note_attempt(jobs: Path, id: str, first: bool = False) -> int:
    """Count an attempt to put a change back; return how many were made since the first one.

    :param first: whether the count starts again.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_TRUNC if first else 0)
    try:
        descriptor = os.open(_path(jobs, id, "reverting"), flags)
    except OSError:
        return 1
    with open(descriptor, "ab", buffering=0) as file, contextlib.suppress(OSError):  # on a full disk it stays as it is
        file.write(b".")
        return os.fstat(descriptor).st_size
    return 1


def take_back_attempt(jobs: Path, id: str) -> None:
    """Do not count the last attempt, of which no process began."""
    with contextlib.suppress(OSError):
        descriptor = os.open(_path(jobs, id, "reverting"), os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - 1))
        finally:
            os.close(descriptor)

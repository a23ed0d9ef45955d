"""The reason why a run ended without recording it, from its process's exit status if that is known."""

from __future__ import annotations

import signal
from pathlib import Path
from weakref import WeakValueDictionary

from jidoteki.core.jobs.processes import JobProcess

#: The exit status of a job's process that could not record its outcome: EX_IOERR of sysexits.h.
NOT_RECORDED = 74
UNRECORDED = "How the job ended could not be recorded: the disk is full, or cannot be written"
#: Compared by scripts. Also used if the status is unknown, as for a run that ended while the service was down.
INTERRUPTED = "The job ended unexpectedly: it was killed, or the power failed"

#: The processes that were started or are watched here, by the path of the run's record.
_processes: WeakValueDictionary[Path, JobProcess] = WeakValueDictionary()
_awaited: set[Path] = set()


def remember(record: Path, process: JobProcess) -> None:
    """Register the process of a run; only a weak reference is kept.

    :param record: the path of the run's record.
    """
    _processes[record] = process


def await_settling(record: Path, process: JobProcess) -> None:
    """Register the process of a run that is watched here, and settled once it has died."""
    remember(record, process)
    _awaited.add(record)


def settled(record: Path) -> None:
    """Forget a run that was watched here."""
    _awaited.discard(record)


def is_awaited(record: Path) -> bool:
    """Return whether a run is watched here and not settled yet, even if its process has died."""
    return record in _awaited


def any_awaited() -> bool:
    """Return whether any run is."""
    return bool(_awaited)


def reason(record: Path) -> str:
    """Return a sentence with the reason why a run has died; call it when its lock is free.

    :param record: the path of the run's record.
    """
    process = _processes.get(record)
    status = process.exit_status() if process else None
    if status is None or status == -signal.SIGKILL:
        return INTERRUPTED
    return UNRECORDED if status == NOT_RECORDED else f"The job ended unexpectedly: its process {described(status)}"


def described(status: int) -> str:
    """Return a description of how a process ended.

    :param status: its exit status, or the negative number of the signal that killed it.
    """
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"was ended by signal {-status}"

"""Why a run ended that recorded no end of its own, as its process's exit status says while that is known."""

from __future__ import annotations

import signal
from pathlib import Path
from weakref import WeakValueDictionary

from jidoteki.core.jobs.processes import JobProcess

#: The exit status of a job's process that could not record how it ended: EX_IOERR of sysexits.h.
NOT_RECORDED = 74
UNRECORDED = "How the job ended could not be recorded: the disk is full, or cannot be written"
#: Scripts compare it. Also said where nobody knows, as of a run that ended while the service did not run.
INTERRUPTED = "The job ended unexpectedly: it was killed, or the power failed"

#: The processes that were started here and are still waited for, by the path of the run's record.
_processes: WeakValueDictionary[Path, JobProcess] = WeakValueDictionary()


def remember(record: Path, process: JobProcess) -> None:
    """Remember the process of a run as long as somebody else does.

    :param record: the path of the run's record.
    """
    _processes[record] = process


def reason(record: Path) -> str:
    """Return the sentence that says why a run is dead; call it when its lock is free.

    :param record: the path of the run's record.
    """
    process = _processes.get(record)
    status = process.exit_status() if process else None
    if status is None or status == -signal.SIGKILL:
        return INTERRUPTED
    return UNRECORDED if status == NOT_RECORDED else f"The job ended unexpectedly: its process {described(status)}"


def described(status: int) -> str:
    """Say how a process ended.

    :param status: its exit status, or the negative number of the signal that ended it.
    """
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # of real time
        return f"was ended by signal {-status}"

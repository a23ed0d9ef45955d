"""Waiting for the end of a run's process, which is killed if it takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from jidoteki.core.jobs import trying
from jidoteki.core.jobs.records import Record
from jidoteki.hookspecs import trials

if TYPE_CHECKING:
    from jidoteki.core.jobs.launch import Launcher
    from jidoteki.core.jobs.processes import JobProcess

EXTRA_TIMEOUT: Final = 30.0
#: Seconds after which the process of a change that waits has to have put it back.
OVERDUE: Final = 5.0
#: Seconds between two looks at that.
LOOK_EACH: Final = 2.0


async def end(launcher: Launcher, record: Record, process: JobProcess) -> str | None:
    """Wait for the end of the process; return why it was killed, or None."""
    _, job = launcher.job_types.get(record.type, (None, None))
    limit = trying.longest(job.timeout if job else 3600, record.confirm) + EXTRA_TIMEOUT
    deadline = time.monotonic() + max(1.0, limit - process.age())
    reason = "The job took too long"
    while (left := deadline - time.monotonic()) > 0:
        try:
            await asyncio.wait_for(process.ended(), min(left, LOOK_EACH) if record.confirm else left)
            return None
        except TimeoutError:
            if record.confirm and await asyncio.to_thread(_give_up_overdue, launcher, record):
                reason = trying.NOBODY.format(record.confirm)
                break
    await asyncio.to_thread(process.kill)
    return reason


def _give_up_overdue(launcher: Launcher, record: Record) -> bool:
    """Decide that a change is put back which waits longer than it may, as where its job was stopped.

    :return: whether it is. Where that cannot be recorded, its process may be at it nevertheless.
    """
    trial = trials.find(launcher.appliance.jobs, record.type)
    if trial is None or trial.id != record.id or not trial.is_waiting or trials.now() <= trial.deadline + OVERDUE:
        return False
    with contextlib.suppress(OSError):
        return trials.decide(launcher.appliance.jobs, record.id, "reverting")
    return False

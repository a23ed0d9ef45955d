"""Restarting the appliance to try an update, or to go back: once, and waiting a while until it happens.

Whether it happened is told by the kernel's id of the boot. Until it does, this process waits; it dies with the system,
and the next start of the service goes on.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from jidoteki.core.jobs import disks, going_down
from jidoteki.core.jobs.changes import Changes
from jidoteki.hookspecs import Appliance, Job, JobError, privileges, trials
from jidoteki.hookspecs.boots import boot_id

TO_TRY: Final = "Restarting the appliance to try the update"
TO_GO_BACK: Final = "Restarting the appliance to go back to the former version"
#: How far the job is meanwhile, in percent.
PERCENTAGE: Final = 90
LOOK_EACH: Final = 0.2
#: Seconds between telling clients and going down: so they hear of it.
NOTICE: Final = 1.0


def problem(host_config: Mapping[str, Any], appliance: Appliance) -> str | None:
    """Return why an appliance cannot restart for an update, or None."""
    if going_down.command(host_config, appliance) is None:
        return "no reboot command is configured"
    return None if boot_id(appliance.root) else "it cannot be told whether it did: the kernel's boot id is missing"


def has_happened(appliance: Appliance, boot: str) -> bool:
    """Return whether the appliance has restarted since a boot.

    :param boot: the id of that.
    """
    return boot_id(appliance.root) not in (boot, "")


def limit(job: Job) -> float:
    """Return the seconds within which the appliance must go down once it was asked to."""
    return float(job.host_config["update"]["reboot-timeout"])


def restart(job: Job, boot: str, why: str, asking: Callable[[], None]) -> None:
    """Save the system's data, then restart it; return only where this process outlives that.

    :param boot: the id of the boot that ends.
    :param why: what clients are told.
    :param asking: called just before the command runs, and what it raises prevents that.
    :raises JobError: the appliance does not restart.
    """
    argv = going_down.command(job.host_config, job.appliance)
    if not argv:
        raise JobError(f"The appliance cannot restart: {problem(job.host_config, job.appliance)}")
    job.progress(PERCENTAGE)
    job.restarting(why)
    job.log(why)
    time.sleep(NOTICE)
    with privileges.lowered():  # the locks are the service's
        changes = Changes(job, PERCENTAGE)
        changes.wait()
        going_down.persist(job)
        with changes.none_begins():  # nor while it goes down
            disks.store(job)
            with _ended_by_the_system():
                asking()
                ended = going_down.run(job, "reboot", argv)
                if ended.status > 0:  # else it went down with the system
                    going_down.require(ended)
                _wait(job, boot, trials.now() + limit(job))


def wait(job: Job, boot: str, deadline: float) -> None:
    """Wait until the appliance has restarted.

    :param deadline: by the boot clock.
    :raises JobError: it has not by then.
    """
    with _ended_by_the_system():
        _wait(job, boot, deadline)


def _wait(job: Job, boot: str, deadline: float) -> None:
    while not has_happened(job.appliance, boot):
        if trials.now() >= deadline:
            raise JobError(f"The appliance did not restart within {limit(job):g} seconds")
        time.sleep(LOOK_EACH)


@contextmanager
def _ended_by_the_system() -> Iterator[None]:
    """Let SIGTERM end this process at once in a `with` block, for a system that goes down waits for its processes.

    The next start of the service goes on, as after any other end.
    """
    if threading.current_thread() is not threading.main_thread():  # the test kit's
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)

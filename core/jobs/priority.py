"""A job lets the service and the appliance go first; the programs that it starts have their usual share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

NICE = 10

# Linux shares the processors among sessions before it looks at processes (sched(7), "The autogroup feature"), and a job
# is a session of its own: without this file its niceness would count among its own processes alone.
AUTOGROUP = Path("/proc/self/autogroup")

_usual: int | None = None


def step_back() -> None:
    """Lower the priority of this process. Only root does so: nobody else could give programs the usual one back."""
    global _usual
    if os.geteuid() == 0:
        _usual = os.getpriority(os.PRIO_PROCESS, 0)
        _set(max(_usual, NICE))


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """The priority that this process had before it stepped back, while a program runs that it started."""
    if _usual is None:
        yield
        return
    lowered = os.getpriority(os.PRIO_PROCESS, 0)
    _set(_usual)
    try:
        yield
    finally:
        _set(lowered)


def _set(nice: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    with contextlib.suppress(OSError):  # a kernel without them, or one where groups of systemd take their place
        AUTOGROUP.write_text(str(nice))

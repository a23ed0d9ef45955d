"""Who goes first on a busy machine: the service, if its vendor wants it so, then the appliance, then jobs.

Linux shares the processors among sessions before it looks at the niceness of processes (sched(7), "The autogroup
feature"). Service and jobs are sessions of their own: without `AUTOGROUP` their niceness would count for nothing beside
the vendor's application.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

NICE = 10
TRIES = 5
AUTOGROUP = Path("/proc/self/autogroup")

_usual: int | None = None


def take_place() -> None:
    """Let the niceness that the service was started with count for its session, which must be its own."""
    own = _own()
    if own and os.getsid(0) == os.getpid():
        _share(own)


def step_back() -> None:
    """Lower the priority of this process, unless programs that it starts could not be given the usual one back."""
    global _usual
    usual = max(_own(), 0)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, usual)
        os.setpriority(os.PRIO_PROCESS, 0, usual - 1)  # who may do this may come back from anywhere
        _usual = usual
        _set(max(usual, NICE))


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """The priority that programs have, while one runs that this process started; never more than the appliance's."""
    if _usual is None:
        yield
        return
    lowered = _own()
    _set(_usual)
    try:
        yield
    finally:
        _set(lowered)


def _own() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _set(nice: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    _share(nice)


def _share(nice: int) -> None:
    """Set the niceness of the session, as far as the kernel has such and lets us."""
    for _ in range(TRIES):
        try:
            AUTOGROUP.write_text(str(nice))
        except BlockingIOError:  # without CAP_SYS_ADMIN only ten a second are taken, of all processes together
            time.sleep(0.1)
        except OSError:
            return
        else:
            return

"""Who goes first on a busy machine: the service, if its vendor wants it so, then the appliance, then jobs.

Linux shares the processors among sessions before it looks at the niceness of processes (sched(7), "The autogroup
feature"). Service and jobs are sessions of their own: without `AUTOGROUP` their niceness would count for nothing beside
the vendor's application.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

NICE = 10
TRIES = 5
AUTOGROUP = Path("/proc/self/autogroup")

Program = TypeVar("Program")

_starter: ThreadPoolExecutor | None = None


def take_place() -> None:
    """Let the niceness that the service was started with count for its session, which must be its own."""
    own = _own()
    if own and os.getsid(0) == os.getpid():
        _share(own)


def step_back() -> None:
    """Lower the priority of this process, apart from one thread, which starts its programs: see `usual`.

    Linux gives each thread a niceness of its own (setpriority(2), "C library/kernel differences"), and who has lowered
    it needs a privilege to raise it again.
    """
    global _starter
    usual = max(_own(), 0)
    _set(usual)
    _starter = ThreadPoolExecutor(1, "starter")
    _starter.submit(_own).result()  # which starts the thread, before this one steps back
    stepped_back = max(usual, NICE)
    _set(stepped_back)
    _share(stepped_back)


@contextlib.contextmanager
def usual(start: Callable[[], Program]) -> Iterator[Program]:
    """Start a program that has the usual priority, and give what `start` returned, while the program runs.

    It runs in this process's session, which has one priority for all: meanwhile this process shares it.
    """
    if _starter is None:
        yield start()
        return
    _share(_starter.submit(_own).result())
    try:
        yield _starter.submit(start).result()
    finally:
        _share(_own())


def _own() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _set(nice: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


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

"""Priorities on a busy machine: first the service, if its vendor wants it so, then the appliance, then jobs.

Linux shares the processors among sessions before it considers the nice values of processes (sched(7), "The autogroup
feature"). Service and jobs are sessions of their own: without `AUTOGROUP` their nice values would have no effect
relative to the vendor's application.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

NICE = 10
TRIES = 30
AUTOGROUP = Path("/proc/self/autogroup")
#: How likely this process is to be killed when the memory is full, and all that it starts: 0 is the usual value.
OOM_SCORE = Path("/proc/self/oom_score_adj")

Program = TypeVar("Program")

_starter: ThreadPoolExecutor | None = None


def take_place() -> None:
    """Apply the nice value that the service was started with to its session, if it leads one."""
    own = _nice_value()
    if own and os.getsid(0) == os.getpid():
        _set_session(own)


def step_back() -> None:
    """Raise the nice value of this process, except for one thread, which starts its programs: see `usual`.

    Linux has a nice value for each thread (setpriority(2), "C library/kernel differences"), and lowering one again
    takes a privilege.
    """
    global _starter
    _give_up_memory()
    usual = max(_nice_value(), 0)
    _set(usual)
    _starter = ThreadPoolExecutor(1, "starter")
    _starter.submit(_nice_value).result()  # starts the thread, before this one changes its nice value
    stepped_back = max(usual, NICE)
    _set(stepped_back)
    _set_session(stepped_back)


@contextlib.contextmanager
def usual(start: Callable[[], Program]) -> Iterator[Program]:
    """Start a program with the usual priority, and yield the result of `start` while the program runs.

    The program runs in this process's session, which has one priority, so this process gets the usual one meanwhile.
    """
    if _starter is None:
        yield start()
        return
    _set_session(_starter.submit(_nice_value).result())
    try:
        yield _starter.submit(start).result()
    finally:
        _set_session(_nice_value())


def _give_up_memory() -> None:
    """Give up that the service is spared when the memory is full: what a job starts may eat it, and outlive the job."""
    with contextlib.suppress(OSError, ValueError):
        if int(OOM_SCORE.read_text()) < 0:
            OOM_SCORE.write_text("0")


def _nice_value() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _set(nice: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _set_session(nice: int) -> None:
    """Set the nice value of the session, if the kernel supports and permits it."""
    for _ in range(TRIES):
        try:
            AUTOGROUP.write_text(str(nice))
        except BlockingIOError:
            # Without CAP_SYS_ADMIN one write in 100 ms is accepted, of all processes together: in step with each
            # other, the same ones would be too late again and again.
            time.sleep(random.uniform(0.02, 0.15))  # noqa: S311  # no secret
        except OSError:
            return
        else:
            return

"""A job lets the service and the appliance go first; the programs that it starts have their usual share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

NICE = 10

_usual: int | None = None


def step_back() -> None:
    """Lower the priority of this process. Only root does so: nobody else could give programs the usual one back."""
    global _usual
    if os.geteuid() == 0:
        _usual = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, max(_usual, NICE))


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """The priority that this process had before it stepped back, for a program to be started with."""
    if _usual is None:
        yield
        return
    lowered = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, _usual)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, lowered)

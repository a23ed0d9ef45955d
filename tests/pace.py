"""How fast the machine is at the moment: most bounds of time are for one that has a processor for the test."""

from __future__ import annotations

import hashlib
import time

WORK = 0.2  # seconds of a processor; longer than the time for which a control group may make its processes wait
BLOCK = bytes(64 * 1024)


def slowness() -> float:
    """How many times longer than on such a machine work takes here and now; 1 at least.

    Other processes, niceness and control groups let a process wait for its turn, those of the test as well as this one.
    """
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < WORK:
        hashlib.sha256(BLOCK).digest()
    return max(1.0, (time.monotonic() - began) / WORK)

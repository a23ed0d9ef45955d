"""Process 1 of a container, which inherits all orphans and must reap them."""

from __future__ import annotations

import os
import signal

HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def step_aside() -> None:
    """As process 1, fork, reap orphans, and return only in the child; as any other process, do nothing.

    The service itself cannot tell orphans from children that another part waits for. Call this while there is one
    thread.
    """
    if os.getpid() != 1:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
    child = os.fork()
    if child:
        for number in HANDED_ON:
            signal.signal(number, lambda number, frame: os.kill(child, number))
    else:
        os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
    if child:
        os._exit(_status_of(child))


def _status_of(child: int) -> int:
    """Reap processes until `child` ends, and return its exit status in the shell's convention."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code

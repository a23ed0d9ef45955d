"""Processes of jobs: which ones they are, and how to end one with all it started."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def session_members(session: int) -> list[int]:
    """The processes of a session."""
    members = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and _session_of(int(name)) == session:
            members.append(int(name))
    return members


def _session_of(pid: int) -> int | None:
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = content[content.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[3])


def is_alive(pid: int) -> bool:
    """Whether a process of this number exists and has not ended."""
    return _session_of(pid) is not None


def leads(pid: int, lock: Path) -> bool:
    """Whether a process that a record names is still that job: it leads a session and has the lock of its kind open."""
    if _session_of(pid) != pid:
        return False
    try:
        wanted = lock.lstat()
        opened = [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    for path in opened:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), wanted):
                return True
    return False


def kill_rest(session: int, variable: str) -> None:
    """Kill what is left of the session of a job whose first process has ended, nobody knows when.

    The number of the session may mean another one by now: what does not come from a job lives on.

    :param variable: `NAME=VALUE`, which the environment of all that a job starts has.
    """
    wanted = variable.encode()
    kill_session(session, lambda pid: wanted in _environment(pid))


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_session(session: int, belongs: Callable[[int], bool] = lambda pid: True) -> None:
    """Kill every process of a session that a job began; its number cannot mean another one while any of them lives.

    :param belongs: whether a process of this number is one of the job.
    """
    for _ in range(10):
        members = [pid for pid in session_members(session) if belongs(pid)]
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not members:
            return
        time.sleep(0.01)


def ask_to_end(session: int) -> None:
    """Tell a job and its commands to end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGTERM)


def age(pid: int) -> float | None:
    """How long a process has been running, in seconds, whatever the clock was set to meanwhile."""
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
        ticks = int(content[content.rindex(b")") + 2 :].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))

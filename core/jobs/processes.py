"""Processes of jobs: the lock that says one is alive, and how to end one with all it started."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Held(Exception):
    """Another process holds the lock."""


def take(path: Path, tries: int = 1) -> int:
    """Take a lock and return its descriptor; closing the last copy of it, in any process, lets it go.

    :param tries: attempts, 10 ms apart.
    :raises Held: it is held after the last attempt.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for left in range(tries - 1, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                os.close(descriptor)
                raise
        if left:
            time.sleep(0.01)
    os.close(descriptor)
    raise Held(path.name)


@contextmanager
def holding(path: Path, tries: int = 1) -> Iterator[None]:
    """Hold a lock for a while.

    :raises Held: it is held after the last attempt.
    """
    descriptor = take(path, tries)
    try:
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return True
        raise
    finally:
        os.close(descriptor)
    return False


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


def kill_session(session: int) -> None:
    """Kill every process of a session that a job began; its number cannot mean another one while any of them lives."""
    for _ in range(10):
        members = session_members(session)
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

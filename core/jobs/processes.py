"""Processes of jobs: identifying them, and killing one with all its descendants."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOK_EACH = 0.05
#: Seconds, from the release of its lock.
EXIT_TIMEOUT = 2.0


class JobProcess:
    """The process of one job, which leads a session.

    :param process: None if it was adopted, and is not a child of this process.
    """

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._process = process

    @classmethod
    def start(cls, argv: Sequence[str], env: Mapping[str, str], stdin: int, stdout: int, stderr: int) -> JobProcess:
        """Start a process.

        :raises OSError: it cannot be started.
        """
        process = subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, cwd="/", env=dict(env)
        )
        return cls(process.pid, process)

    def poll(self) -> int | None:
        """Return its exit status, or None while it is running."""
        if self._process:
            return self._process.poll()
        return None if is_alive(self.pid) else 0

    def communicate(self, timeout: float) -> bytes:
        """Wait for its end, and return its output.

        :raises TimeoutError: it timed out.
        """
        assert self._process
        try:
            return self._process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def wait(self) -> None:
        """Wait for its end, if it is a child of this process."""
        if self._process:
            self._process.wait()

    def exit_status(self) -> int | None:
        """Return its exit status, or the negative number of the signal that killed it; None if it is unknown."""
        if self._process is None:
            return None
        try:
            return self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None

    async def ended(self) -> None:
        """Wait for its end, whether it is a child or not."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except OSError:  # Linux before 5.3 has none, some containers forbid it, or there is no descriptor left
            while await asyncio.to_thread(self.poll) is None:  # noqa: ASYNC110  # nothing says when it has ended
                await asyncio.sleep(LOOK_EACH)
            return
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(descriptor, ended.cancel)
        try:
            await asyncio.wait((ended,))
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process and its commands."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and its whole session."""
        kill_session(self.pid)

    def age(self) -> float:
        """Return the seconds since its start, regardless of changes of the clock; 0 if unknown."""
        try:
            content = Path(f"/proc/{self.pid}/stat").read_bytes()
            ticks = int(content[content.rindex(b")") + 2 :].split()[19])
        except (OSError, ValueError, IndexError):
            return 0.0
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def session_members(session: int) -> list[int]:
    """Return the ids of a session's processes."""
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
    """Return whether a process exists and has not ended."""
    return _session_of(pid) is not None


def leads(pid: int, lock: Path) -> bool:
    """Return whether a recorded process is still that job: it leads a session and has the lock of its type open."""
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
    """Kill the rest of a job's session after the end of its leader, at an unknown time.

    The session's number may have been reused: processes that are not the job's are not killed.

    :param variable: `NAME=VALUE`, which is in the environment of all processes of a job.
    """
    wanted = variable.encode()
    kill_session(session, lambda pid: wanted in _environment(pid))


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_session(session: int, belongs: Callable[[int], bool] = lambda pid: True) -> None:
    """Kill every process of a job's session, whose number cannot be reused while any of them lives.

    :param belongs: returns whether a process is one of the job.
    """
    for _ in range(10):
        members = [pid for pid in session_members(session) if belongs(pid)]
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not members:
            return
        time.sleep(0.01)

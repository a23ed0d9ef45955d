"""Processes of jobs: which ones they are, and how to end one with all it started."""

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
#: From letting go of its lock.
EXIT_TIMEOUT = 2.0


class JobProcess:
    """The process of one job, which leads a session of its own.

    :param process: None where it was found again, and not started here.
    """

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._process = process

    @classmethod
    def start(cls, argv: Sequence[str], env: Mapping[str, str], stdin: int, stdout: int, stderr: int) -> JobProcess:
        """Start it.

        :raises OSError: it cannot be started.
        """
        process = subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, cwd="/", env=dict(env)
        )
        return cls(process.pid, process)

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        if self._process:
            return self._process.poll()
        return None if is_alive(self.pid) else 0

    def communicate(self, timeout: float) -> bytes:
        """Wait for its end, and return what it printed.

        :raises TimeoutError: it did not end in time.
        """
        assert self._process
        try:
            return self._process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def wait(self) -> None:
        """Wait for its end, if it was started here."""
        if self._process:
            self._process.wait()

    def exit_status(self) -> int | None:
        """Return its exit status, or the negative number of the signal that ended it; None where it is not known."""
        if self._process is None:
            return None
        try:
            return self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None

    async def ended(self) -> None:
        """Wait for its end, whoever started it."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except OSError:  # Linux before 5.3 has none, some containers forbid it, or there is no descriptor left
            while self.poll() is None:  # noqa: ASYNC110  # nothing says when it has ended
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
        """Tell it and its commands to end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with all that it started."""
        kill_session(self.pid)

    def age(self) -> float:
        """How long it has been running, in seconds, whatever the clock was set to meanwhile; 0 where nobody knows."""
        try:
            content = Path(f"/proc/{self.pid}/stat").read_bytes()
            ticks = int(content[content.rindex(b")") + 2 :].split()[19])
        except (OSError, ValueError, IndexError):
            return 0.0
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


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
    """Whether a process that a record names is still that job: it leads a session and has the lock of its type open."""
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

"""Programs that a job runs: no shell, a minimal environment, bounded output, a time limit."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from jidoteki.core.jobs import priority
from jidoteki.hookspecs import JobFailed, scripts

KILL_TIME = 5.0
MAX_OUTPUT = 8 * 1024 * 1024
UMASK = 0o022
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


#: The variable by which programs of jobs find the administration tree.
ADMIN = "JIDO_ADMIN_PATH"


def environment(admin: Path) -> dict[str, str]:
    """The variables that every program of a job gets."""
    return {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", ADMIN: str(admin)}


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    output: Callable[[bytes], None],
    env: Mapping[str, str],
    cwd: Path | None = None,
    umask: int = UMASK,
    name: str = "",
    checkpoint: Callable[[], None] = lambda: None,
    max_output: int = MAX_OUTPUT,
) -> int:
    """Run a program and hand its output on, chunk by chunk.

    :param timeout: seconds.
    :param name: what errors call it; by default its own name.
    :param checkpoint: called a few times a second; what it raises ends the program.
    :return: the exit status, negative for the signal that ended it.
    :raises JobFailed: it cannot be started, or ran out of time.
    """
    name = name or os.path.basename(argv[0])
    with priority.usual(partial(_start, argv, name, env, cwd, umask)) as process:
        assert process.stdout is not None
        try:
            with process.stdout as pipe:
                _pump(process, pipe.fileno(), time.monotonic() + timeout, output, checkpoint, max_output)
            if process.poll() is None:
                raise JobFailed(f"{name} did not end within {timeout:g} seconds")
            return process.returncode
        finally:
            if process.poll() is None:
                # A program that became somebody else, as with sudo, cannot be killed from here, and is not waited for.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(KILL_TIME)


def _start(
    argv: Sequence[str], name: str, env: Mapping[str, str], cwd: Path | None, umask: int
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=cwd, env=dict(env), process_group=0, umask=umask,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise JobFailed(scripts.not_started(name, error)) from error


def _pump(
    process: subprocess.Popen[bytes],
    pipe: int,
    deadline: float,
    output: Callable[[bytes], None],
    checkpoint: Callable[[], None],
    max_output: int,
) -> None:
    """Read until the program has ended: a daemon it left behind may hold the pipe for ever."""
    left = max_output
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        ended = False
        while time.monotonic() < deadline:
            checkpoint()
            if not selector.select(0.0 if ended else 0.05):
                if ended:
                    return
                ended = process.poll() is not None
                if ended:
                    deadline = min(deadline, time.monotonic() + 0.5)
                continue
            chunk = os.read(pipe, 65536)
            if not chunk:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, min(0.2, deadline - time.monotonic())))
                if process.poll() is not None:
                    return
                selector.unregister(pipe)
                _wait(process, deadline, checkpoint)
                return
            if left > 0:
                output(chunk[:left])
                left -= len(chunk)
                if left <= 0:
                    output(b"\n[output cut here]\n")


def _wait(process: subprocess.Popen[bytes], deadline: float, checkpoint: Callable[[], None]) -> None:
    while process.poll() is None and time.monotonic() < deadline:
        checkpoint()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)

"""Running programs from jobs, handlers and plugins: no shell, a minimal environment, limits on time and output.

These functions block: call them from a handler through `asyncio.to_thread`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, TypedDict, Unpack

from jidoteki.hookspecs import scripts
from jidoteki.hookspecs.appliance import Appliance

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UMASK: Final = 0o022
ADMIN: Final = "JIDO_ADMIN_PATH"
"""The environment variable with the path of the administration tree."""
_CHUNK: Final = 64 * 1024
_KILL_TIMEOUT: Final = 5.0
#: Seconds for which output is still read once the program has ended, as a child may hold the pipe open.
_OUTPUT_TIMEOUT: Final = 0.5

Process = subprocess.Popen[bytes]
Starting = Callable[[Callable[[], Process]], AbstractContextManager[Process]]


class ProgramError(Exception):
    """A failure to start a program, or one that timed out or printed too much; the message is a full sentence."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment variables of every program, and `more`."""
    return {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", **more}


def script_environment(appliance: Appliance) -> dict[str, str]:
    """Return the environment variables that tell a vendor's script where the appliance's directories are."""
    return {
        ADMIN: str(appliance.admin),
        "JIDO_ROOT": str(appliance.root),
        "JIDO_ETC": str(appliance.system_etc),
        "JIDO_KEYS": str(appliance.keys),
    }


class Options(TypedDict, total=False):
    """The parameters that `read` passes on to `run`."""

    env: Mapping[str, str] | None
    cwd: Path | str | None
    umask: int
    name: str
    errors: int
    checkpoint: Callable[[], None]


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    output: Callable[[bytes], None],
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    umask: int = UMASK,
    name: str = "",
    errors: int = subprocess.STDOUT,
    checkpoint: Callable[[], None] = lambda: None,
    starting: Starting = lambda start: nullcontext(start()),
) -> int:
    """Run a program and pass its output on, chunk by chunk.

    The call returns when the program ends, even if a daemon that it started keeps its output open.

    :param timeout: seconds.
    :param output: called with each chunk; an exception that it raises kills the program, too.
    :param env: its environment variables; by default those of `environment`.
    :param name: its name in errors; by default that of the executable.
    :param errors: where its standard error goes: `subprocess.STDOUT`, or `DEVNULL`.
    :param checkpoint: called a few times a second; an exception that it raises kills the program.
    :param starting: calls the function that starts the program; a context manager around its run.
    :return: the exit status; the negative signal number if a signal ended it.
    :raises ProgramError: it cannot be started, or timed out.
    """
    name = name or os.path.basename(argv[0])
    variables = environment() if env is None else dict(env)
    with starting(partial(_start, argv, name, variables, cwd, umask, errors)) as process:
        assert process.stdout is not None
        try:
            with process.stdout as pipe:
                _pump(process, pipe.fileno(), time.monotonic() + timeout, output, checkpoint)
            if process.poll() is None:
                raise ProgramError(f"{name} did not end within {timeout:g} seconds")
            return process.returncode
        finally:
            _end(process)


def read(argv: Sequence[str | Path], *, timeout: float, limit: int, **options: Unpack[Options]) -> tuple[int, bytes]:
    """Run a program and return its exit status and its output.

    :param limit: bytes of output.
    :param options: as for `run`.
    :raises ProgramError: it cannot be started, timed out or printed too much.
    """
    printed = bytearray()
    name = options.get("name") or os.path.basename(argv[0])

    def keep(chunk: bytes) -> None:
        printed.extend(chunk)
        if len(printed) > limit:
            raise ProgramError(f"{name} printed more than {limit} bytes")

    status = run(argv, timeout=timeout, output=keep, **options)
    return status, bytes(printed)


def _start(
    argv: Sequence[str | Path], name: str, env: Mapping[str, str], cwd: Path | str | None, umask: int, errors: int
) -> Process:
    # A job of root's that acts as the service's user leaves no way back to what it starts as him.
    user, group = (None, None) if os.getuid() == os.geteuid() else (os.geteuid(), os.getegid())
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            cwd=cwd, env=env, process_group=0, umask=umask, user=user, group=group,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ProgramError(scripts.not_started(name, error)) from error


def _end(process: Process) -> None:
    if process.poll() is not None:
        return
    # A program that now runs as another user, as with sudo, cannot be killed from here, and is not waited for.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_TIMEOUT)


def _pump(
    process: Process, pipe: int, deadline: float, output: Callable[[bytes], None], checkpoint: Callable[[], None]
) -> None:
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
                    deadline = min(deadline, time.monotonic() + _OUTPUT_TIMEOUT)
                continue
            chunk = os.read(pipe, _CHUNK)
            if not chunk:
                _wait(process, deadline, checkpoint)
                return
            output(chunk)


def _wait(process: Process, deadline: float, checkpoint: Callable[[], None]) -> None:
    while process.poll() is None and time.monotonic() < deadline:
        checkpoint()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(0.1, max(0.0, deadline - time.monotonic())))

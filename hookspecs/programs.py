"""Programs that jobs, handlers and plugins run: no shell, a minimal environment, a time limit, a bounded output.

All of it blocks: a handler calls it by `asyncio.to_thread`.
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
"""The variable by which programs find the administration tree."""
_CHUNK: Final = 64 * 1024
_KILL_TIME: Final = 5.0
#: How long the output of what a program left behind is read once the program itself has ended.
_LAST_WORDS: Final = 0.5

Process = subprocess.Popen[bytes]
Starting = Callable[[Callable[[], Process]], AbstractContextManager[Process]]


class ProgramFailed(Exception):
    """A program cannot be started, ran out of time, or printed too much; the message says so in one sentence."""


def environment(**more: str) -> dict[str, str]:
    """Return the variables that every program gets, and `more`."""
    return {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", **more}


def places(appliance: Appliance) -> dict[str, str]:
    """Return the variables by which a vendor's script finds the appliance that it works on, whatever its root is."""
    return {
        ADMIN: str(appliance.admin),
        "JIDO_ROOT": str(appliance.root),
        "JIDO_ETC": str(appliance.system_etc),
    }


class Options(TypedDict, total=False):
    """What `read` hands on to `run`."""

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
    """Run a program and hand on what it prints, chunk by chunk.

    Its end counts, and not the end of its output: a daemon that it left behind may hold that for ever.

    :param timeout: seconds.
    :param output: what it raises ends the program, too.
    :param env: its variables; by default those of `environment`.
    :param name: what errors call it; by default its own name.
    :param errors: where its standard error goes: `subprocess.STDOUT`, or `DEVNULL`.
    :param checkpoint: called a few times a second; what it raises ends the program.
    :param starting: calls what starts the program, and gives it for as long as it runs.
    :return: the exit status, negative for the signal that ended it.
    :raises ProgramFailed: it cannot be started, or ran out of time.
    """
    name = name or os.path.basename(argv[0])
    variables = environment() if env is None else dict(env)
    with starting(partial(_start, argv, name, variables, cwd, umask, errors)) as process:
        assert process.stdout is not None
        try:
            with process.stdout as pipe:
                _pump(process, pipe.fileno(), time.monotonic() + timeout, output, checkpoint)
            if process.poll() is None:
                raise ProgramFailed(f"{name} did not end within {timeout:g} seconds")
            return process.returncode
        finally:
            _end(process)


def read(argv: Sequence[str | Path], *, timeout: float, limit: int, **options: Unpack[Options]) -> tuple[int, bytes]:
    """Run a program and return its exit status and what it printed.

    :param limit: bytes that it may print.
    :param options: as for `run`.
    :raises ProgramFailed: it cannot be started, takes too long or prints too much.
    """
    printed = bytearray()
    name = options.get("name") or os.path.basename(argv[0])

    def keep(chunk: bytes) -> None:
        printed.extend(chunk)
        if len(printed) > limit:
            raise ProgramFailed(f"{name} printed more than {limit} bytes")

    status = run(argv, timeout=timeout, output=keep, **options)
    return status, bytes(printed)


def _start(
    argv: Sequence[str | Path], name: str, env: Mapping[str, str], cwd: Path | str | None, umask: int, errors: int
) -> Process:
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            cwd=cwd, env=env, process_group=0, umask=umask,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ProgramFailed(scripts.not_started(name, error)) from error


def _end(process: Process) -> None:
    if process.poll() is not None:
        return
    # A program that runs as another user by now, as with sudo, cannot be killed from here, and is not waited for.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_TIME)


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
                    deadline = min(deadline, time.monotonic() + _LAST_WORDS)
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

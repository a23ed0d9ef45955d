"""Programs whose output is read: no shell, a minimal environment, a time limit, a bounded output."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import scripts

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ToolFailed(Exception):
    """A program that reads or makes licenses is missing or does not work, whatever the license is like."""


def environment(**more: str) -> dict[str, str]:
    """The variables that every program gets, and `more`."""
    return {"PATH": os.environ.get("PATH", PATH), "LANG": "C.UTF-8", "HOME": "/", **more}


def command_of(script: Path) -> list[str]:
    """Return how to start a vendor's script.

    :raises ToolFailed: it cannot be run.
    """
    try:
        return scripts.command_of(script)
    except scripts.CannotRun as error:
        raise ToolFailed(str(error)) from error


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    timeout: float,
    limit: int,
    name: str = "",
    cwd: str | None = None,
) -> tuple[int, bytes]:
    """Run a program and return its exit status and what it printed on its standard output.

    :param timeout: seconds.
    :param limit: bytes that it may print.
    :param name: what errors call it; by default its own name.
    :param cwd: its working directory; by default that of this process.
    :raises ToolFailed: it cannot be started, takes too long or prints too much.
    """
    name = name or os.path.basename(argv[0])
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(env), process_group=0, cwd=cwd,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ToolFailed(scripts.not_started(name, error)) from error
    assert process.stdout is not None
    try:
        with process.stdout as pipe:
            output = _read(process, pipe.fileno(), time.monotonic() + timeout, limit)
        if len(output) > limit:
            raise ToolFailed(f"{name} printed more than {limit} bytes")
        if process.poll() is None:
            raise ToolFailed(f"{name} did not end within {timeout:g} seconds")
        return process.returncode, output
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(process: subprocess.Popen[bytes], pipe: int, deadline: float, limit: int) -> bytes:
    """Read until the program has ended: a daemon it left behind may hold the pipe for ever."""
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        ended = False
        while time.monotonic() < deadline and len(output) <= limit:
            if not selector.select(0.0 if ended else 0.05):
                if ended:
                    break
                ended = process.poll() is not None
                continue
            chunk = os.read(pipe, 65536)
            if not chunk:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                break
            output += chunk
    return bytes(output)

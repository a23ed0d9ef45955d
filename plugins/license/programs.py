"""Running the programs that read and make licenses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from jidoteki.hookspecs import programs, scripts
from jidoteki.hookspecs.programs import PATH

__all__ = ["PATH", "ToolError", "command_of", "environment", "run"]


class ToolError(Exception):
    """A program for licenses that is missing or does not work, independent of the license."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment variables of every program, and `more`."""
    return programs.environment(**{"PATH": os.environ.get("PATH", PATH), **more})


def command_of(script: Path) -> list[str]:
    """Return the command that runs a vendor's script.

    :raises ToolError: it cannot be run.
    """
    try:
        return scripts.command_of(script)
    except scripts.ScriptError as error:
        raise ToolError(str(error)) from error


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    timeout: float,
    limit: int,
    name: str = "",
    cwd: str | None = None,
) -> tuple[int, bytes]:
    """Run a program and return its exit status and standard output; see `hookspecs.programs`.

    :raises ToolError: it cannot be started, timed out or printed too much.
    """
    try:
        return programs.read(
            argv, env=env, timeout=timeout, limit=limit, name=name, cwd=cwd, errors=subprocess.DEVNULL, umask=0o077
        )
    except programs.ProgramError as error:
        raise ToolError(str(error)) from error

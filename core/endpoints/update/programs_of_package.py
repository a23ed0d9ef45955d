"""Running the programs that a package may bring beside its `update.sh`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jidoteki.core.endpoints.update import service_access, unpacked
from jidoteki.core.jobs.last_words import LastWords
from jidoteki.hookspecs import Job, JobError, scripts


def environment(former: str | None, new: str | None) -> dict[str, str]:
    """Return the variables that tell these programs the versions; empty where one is not known."""
    return {"JIDO_FORMER_VERSION": former or "", "JIDO_NEW_VERSION": new or ""}


def exists(directory: Path, name: str) -> bool:
    """Return whether a package has a program, whatever lies in its place."""
    return os.path.lexists(directory / name)


def fault(script: Path) -> str | None:
    """Return why a program of a package can run nowhere, or None."""
    if not script.is_file():
        return _no_file(script)
    try:
        scripts.command_of(script)
    except scripts.ScriptError as error:
        return f"The package's {error}"
    return None


def _no_file(script: Path) -> str:
    return f"The package's {script.name} is not a file"


def run(
    job: Job,
    script: Path,
    timeout: float,
    env: Mapping[str, str],
    words: LastWords | None = None,
) -> str | None:
    """Run a program in the directory of its package; return why it failed, with its last line, or None.

    :param words: keeps what it prints.
    """
    if not script.is_file():
        return _no_file(script)
    options: dict[str, Any] = {"timeout": timeout, "cwd": script.parent, "umask": unpacked.UMASK, "env": env}
    words = words or LastWords()
    try:
        _let_execute(script)
        status = job.script(script, listen=words.keep, **options)
    except JobError as error:
        return error.message
    finally:
        service_access.give(job.appliance, job.host_config["plugin-directory"])
    return words.failure(script.name, status) if status else None


def _let_execute(script: Path) -> None:
    """Let a program be executed: it may be a binary, which no interpreter can start."""
    with contextlib.suppress(OSError):  # most are run by their interpreter, on a disk that became read-only, too
        script.chmod(script.stat().st_mode | 0o111)

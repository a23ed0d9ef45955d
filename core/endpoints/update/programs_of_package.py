"""Running the programs that a package may bring beside its `update.sh`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jidoteki.core.endpoints.update import unpacked
from jidoteki.core.jobs.last_words import LastWords
from jidoteki.hookspecs import Job, JobError

PREFLIGHT: Final = "preflight.sh"
PREFLIGHT_CODE: Final = "E2002"
PREFLIGHT_TIMEOUT: Final = 300.0
#: Bytes of what it prints that a dry run shows.
MAX_SHOWN: Final = 64 * 1024


def environment(former: str | None, new: str | None) -> dict[str, str]:
    """Return the variables that tell these programs the versions; empty where one is not known."""
    return {"JIDO_FORMER_VERSION": former or "", "JIDO_NEW_VERSION": new or ""}


def exists(directory: Path, name: str) -> bool:
    """Return whether a package has a program, whatever lies in its place."""
    return os.path.lexists(directory / name)


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
        return f"The package's {script.name} is not a file"
    options: dict[str, Any] = {"timeout": timeout, "cwd": script.parent, "umask": unpacked.UMASK, "env": env}
    words = words or LastWords()
    try:
        script.chmod(script.stat().st_mode | 0o111)  # it may be a binary, which no interpreter can start
        status = job.script(script, listen=words.keep, **options)
    except JobError as error:
        return error.message
    return words.failure(script.name, status) if status else None


def preflight(job: Job, directory: Path, env: Mapping[str, str]) -> None:
    """Run the `preflight.sh` of an unpacked package, if it has one, before anything is changed.

    :raises JobError: E2002, it failed; the message has the last line that it printed.
    """
    if not exists(directory, PREFLIGHT):
        return
    words = LastWords(MAX_SHOWN)
    failure = run(job, directory / PREFLIGHT, PREFLIGHT_TIMEOUT, env, words)
    job.preview({"preflight": words.text})
    if failure:
        raise JobError(f"{failure}. Nothing was changed", PREFLIGHT_CODE)

"""Running the programs that a package may bring beside its `update.sh`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jidoteki.core.endpoints.update import unpacked
from jidoteki.hookspecs import Job, JobError

PREFLIGHT: Final = "preflight.sh"
PREFLIGHT_CODE: Final = "E2002"
PREFLIGHT_TIMEOUT: Final = 300.0
#: Bytes of what it prints that a dry run shows, and characters of its last line in a message.
MAX_SHOWN: Final = 64 * 1024
MAX_LINE: Final = 200


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
    listen: Callable[[bytes], None] | None = None,
) -> str | None:
    """Run a program in the directory of its package; return why it failed, or None."""
    if not script.is_file():
        return f"The package's {script.name} is not a file"
    options: dict[str, Any] = {"timeout": timeout, "cwd": script.parent, "umask": unpacked.UMASK, "env": env}
    try:
        script.chmod(script.stat().st_mode | 0o111)  # it may be a binary, which no interpreter can start
        status = job.script(script, listen=listen, **options)
    except JobError as error:
        return error.message
    return f"{script.name} failed with exit status {status}" if status else None


def preflight(job: Job, directory: Path, env: Mapping[str, str]) -> None:
    """Run the `preflight.sh` of an unpacked package, if it has one, before anything is changed.

    :raises JobError: E2002, it failed; the message has the last line that it printed.
    """
    if not exists(directory, PREFLIGHT):
        return
    printed = bytearray()
    failure = run(job, directory / PREFLIGHT, PREFLIGHT_TIMEOUT, env, lambda chunk: _keep(printed, chunk))
    text = printed.decode("utf-8", "replace")
    job.preview({"preflight": text})
    if failure:
        said = _last_line(text)
        raise JobError(f"{failure}{f': {said}' if said else ''}. Nothing was changed", PREFLIGHT_CODE)


def _keep(printed: bytearray, chunk: bytes) -> None:
    printed.extend(chunk)
    del printed[:-MAX_SHOWN]


def _last_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(each for each in last if each.isprintable())[:MAX_LINE].rstrip(".")

"""Runs the `update.sh` of a package, and finds out why it failed."""

from __future__ import annotations

import contextlib
import re
import stat
import time
from pathlib import Path

from jidoteki.core.endpoints.update import unpacked
from jidoteki.hookspecs import Job, JobError, paths

SCRIPT = "update.sh"
MAX_MESSAGE = 200
MAX_STATUS_FILE = 4096
ERROR_FILES = ("status_error_message.txt", "status_error_code.txt")
_CODE = re.compile("[A-Za-z0-9_-]{1,16}")
_Stamp = tuple[int, int, int] | None


def run(job: Job, directory: Path) -> None:
    """Run the script of an unpacked package.

    :raises JobError: it cannot be run, or failed; with the message and the code that it wrote itself, if it did.
    """
    etc = job.appliance.etc
    before = _stamps(etc)
    job.log(f"Starting update at: {_now()}")
    failure = _failure_of_script(job, directory / SCRIPT)
    if failure:
        failure = _own_failure(etc, before) or failure
    job.progress(80)
    if failure:
        raise failure
    job.log(f"Completed update at: {_now()}")


def _failure_of_script(job: Job, script: Path) -> JobError | None:
    """Run the script, and return why it failed."""
    if not script.is_file():
        return JobError(f"The package's {SCRIPT} is not a file", "E1002")
    try:
        script.chmod(script.stat().st_mode | 0o111)  # it may be a program, which only itself can start
        limit = job.host_config["update"]["script-timeout"]
        status = job.script(script, timeout=limit, cwd=script.parent, umask=unpacked.UMASK)
    except JobError as error:
        return JobError(error.message, "E1002")
    return JobError(f"{SCRIPT} failed with exit status {status}", "E1002") if status else None


def _now() -> str:
    """The time as `date` prints it."""
    return time.strftime("%a %b %e %H:%M:%S %Z %Y")


def _stamps(etc: Path) -> dict[str, _Stamp]:
    """Which versions of the error files are there."""
    stamps: dict[str, _Stamp] = {}
    for name in ERROR_FILES:
        stamps[name] = None
        with contextlib.suppress(OSError):
            status = (etc / name).lstat()
            if stat.S_ISREG(status.st_mode):
                stamps[name] = status.st_mtime_ns, status.st_size, status.st_ino
    return stamps


def _own_failure(etc: Path, before: dict[str, _Stamp]) -> JobError | None:
    """What the script itself wrote to the error files, made fit for one line; None when it wrote nothing there."""
    after = _stamps(etc)
    texts = {name: _line(etc / name) if stamp and stamp != before[name] else "" for name, stamp in after.items()}
    message, code = (texts[name] for name in ERROR_FILES)
    if not message and not code:
        return None
    return JobError(message or f"{SCRIPT} failed", code if _CODE.fullmatch(code) else "E1002")


def _line(path: Path) -> str:
    try:
        with open(paths.open_regular(path), "rb") as file:
            text = file.read(MAX_STATUS_FILE).decode("utf-8", "replace")
    except OSError:
        return ""
    words = " ".join(text.split())
    return "".join(character for character in words if character.isprintable())[:MAX_MESSAGE]

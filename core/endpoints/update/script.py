"""Running the `update.sh` of a package, and reporting its failure."""

from __future__ import annotations

import contextlib
import re
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from jidoteki.core.endpoints.update import programs_of_package
from jidoteki.hookspecs import Job, JobError, paths

SCRIPT = "update.sh"
MAX_MESSAGE = 200
MAX_STATUS_FILE = 4096
ERROR_FILES = ("status_error_message.txt", "status_error_code.txt")
_CODE = re.compile("[A-Za-z0-9_-]{1,16}")
_Stamp = tuple[int, int, int] | None


def run(job: Job, directory: Path, env: Mapping[str, str]) -> None:
    """Run the script of an unpacked package.

    :param env: variables that tell it the versions.
    :raises JobError: it cannot be run, or failed; with the message and the code from its error files, if it wrote any.
    """
    etc = job.appliance.etc
    before = _stamps(etc)
    job.log(f"Starting update at: {_now()}")
    failure = _failure_of_script(job, directory / SCRIPT, env)
    if failure:
        failure = _own_failure(etc, before) or failure
    job.progress(80)
    if failure:
        raise failure
    job.log(f"Completed update at: {_now()}")


def _failure_of_script(job: Job, script: Path, env: Mapping[str, str]) -> JobError | None:
    """Run the script, and return its failure."""
    failure = programs_of_package.run(job, script, job.host_config["update"]["script-timeout"], env)
    return JobError(failure, "E1002") if failure else None


def _now() -> str:
    """Return the time in the format of `date`."""
    return time.strftime("%a %b %e %H:%M:%S %Z %Y")


def _stamps(etc: Path) -> dict[str, _Stamp]:
    """Return the identities of the error files."""
    stamps: dict[str, _Stamp] = {}
    for name in ERROR_FILES:
        stamps[name] = None
        with contextlib.suppress(OSError):
            status = (etc / name).lstat()
            if stat.S_ISREG(status.st_mode):
                stamps[name] = status.st_mtime_ns, status.st_size, status.st_ino
    return stamps


def _own_failure(etc: Path, before: dict[str, _Stamp]) -> JobError | None:
    """Return the failure that the script wrote to the error files, as one line; None if it wrote none."""
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

"""The `preflight.sh` of a package: a look at the appliance before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from jidoteki.core.endpoints.update import description, programs_of_package, recorded_versions, script, trial
from jidoteki.core.jobs.last_words import LastWords
from jidoteki.hookspecs import Job, JobError

PROGRAM: Final = "preflight.sh"
CODE: Final = "E2002"
TIMEOUT: Final = 300.0
#: Bytes of what it prints that a dry run shows.
MAX_SHOWN: Final = 64 * 1024
#: What the service itself reads or runs of a package after it: these have to be as they were signed.
_KEPT_AS_IT_IS: Final = (
    recorded_versions.VERSION, recorded_versions.CHANGELOG, description.FILE, script.SCRIPT, trial.VERIFY,
    trial.ROLLBACK,
)  # fmt: skip
_Stamp = tuple[int, int, int] | None


def run(job: Job, directory: Path, env: Mapping[str, str]) -> None:
    """Run the program of an unpacked package, if it has one.

    :raises JobError: E2002, it failed, the message has the last line that it printed; or it changed the package.
    """
    if not programs_of_package.exists(directory, PROGRAM):
        return
    words, before = LastWords(MAX_SHOWN), _stamps(directory)
    failure = programs_of_package.run(job, directory / PROGRAM, TIMEOUT, env, words)
    job.preview({"preflight": words.text})
    failure = failure or _change(before, _stamps(directory))
    if failure:
        raise JobError(f"{failure}. Nothing was changed", CODE)


def _stamps(directory: Path) -> dict[str, _Stamp]:
    return {name: _stamp(directory / name) for name in _KEPT_AS_IT_IS}


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _change(before: Mapping[str, _Stamp], after: Mapping[str, _Stamp]) -> str | None:
    """Return what to say of files that are not what was verified any more, or None."""
    changed = [name for name, stamp in before.items() if after[name] != stamp]
    said = f"{PROGRAM} changed {', '.join(changed)} of its own package, which is not installed then"
    return said if changed else None

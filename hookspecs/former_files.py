"""Files that are restored when the change that they belong to fails, even by a kill or a power cut.

During the change their former contents are in a note in `ADMIN/jobs`, which the service alone can read; the recovery of
a dead job restores what such a note holds.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import voluptuous as vol

from jidoteki.hookspecs import paths
from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.jobs import Job, JobFailed

MODE: Final = 0o640
"""The mode of a file that was removed in the meantime; the others keep theirs."""
PUT_BACK: Final = "The former settings are back in their files"
_SUFFIX: Final = ".former"
_MAX_NOTE: Final = 32 * 1024 * 1024
_TEXT: Final = vol.All(str, vol.Length(max=4096))
_NOTE: Final = vol.Schema({_TEXT: {vol.Required("former"): vol.Any(str, None), vol.Required("written"): str}})


@contextlib.contextmanager
def replaced(job: Job, files: Mapping[Path, str], mode: int, what: str = "The settings") -> Iterator[None]:
    """Replace files, and restore them, with a line in the log, if the body of the `with` fails or is cancelled.

    A job type that uses it has what `recovery` returns as its `recover`, for jobs that are killed.

    :param files: the new contents by path, at most 8 MiB each; a file that did not exist is removed on a failure.
    :param mode: the mode of new files.
    :param what: the subject of the message when they cannot be written.
    :raises JobFailed: they cannot be written; or the failure of the body, if the former files cannot be restored.
    """
    former = {path: _content(path) for path in files}
    note = _note(job.appliance, job.id)
    try:
        try:
            _write_note(job.appliance, note, former, files)
            job.appliance.replace_files(files, mode)
        except OSError as error:
            raise JobFailed(f"{what} cannot be written and stay as they were: {error.strerror or error}") from error
        yield
    except BaseException as failure:
        _put_back(job, former, failure)
        raise
    finally:
        _remove(note)


def recovery(job_type: str, files: Callable[[Appliance], Iterable[Path]]) -> Callable[[Appliance], str | None]:
    """Return the `recover` of a job type whose jobs use `replaced`: it restores what a killed job had replaced.

    A file that another program has written since is left as it is.

    :param files: returns the paths that such a job may replace; other paths in a note are ignored.
    """

    def recover(appliance: Appliance) -> str | None:
        changed = False
        for note in sorted(appliance.jobs.glob(f"*-{job_type}{_SUFFIX}")):
            changed |= _put_back_noted(appliance, note, {str(path) for path in files(appliance)})
            _remove(note)
        return PUT_BACK if changed else None

    return recover


def _note(appliance: Appliance, id: str) -> Path:
    return appliance.jobs / f"{id}{_SUFFIX}"


def _write_note(
    appliance: Appliance, note: Path, former: Mapping[Path, bytes | OSError | None], files: Mapping[Path, str]
) -> None:
    """Note what was readable: what was not is nothing that could be put back."""
    noted = {
        str(path): {
            "former": None if content is None else base64.b64encode(content).decode(),
            "written": hashlib.sha256(files[path].encode()).hexdigest(),
        }
        for path, content in former.items()
        if not isinstance(content, OSError)
    }
    appliance.replace_file(note, json.dumps(noted), 0o600)


def _put_back_noted(appliance: Appliance, note: Path, allowed: set[str]) -> bool:
    """Put back what a note says; whether there was anything to put back.

    :raises OSError: that is impossible now.
    """
    try:
        noted = _NOTE(json.loads(paths.read_own(note, _MAX_NOTE)))
        contents = {
            Path(path): None if each["former"] is None else base64.b64decode(each["former"], validate=True)
            for path, each in noted.items()
            if path in allowed and _has(Path(path), each["written"])
        }
    except (ValueError, RecursionError, vol.Invalid):
        return False  # nobody but the service writes there: it was not written to its end
    _replace(appliance, contents)
    return bool(contents)


def _has(path: Path, written: str) -> bool:
    content = _content(path)
    return isinstance(content, bytes) and hashlib.sha256(content).hexdigest() == written


def _put_back(job: Job, former: Mapping[Path, bytes | OSError | None], failure: BaseException) -> None:
    """Put files back after a failure, and say so.

    :raises JobFailed: they are not back.
    """
    try:
        changed = {path: content for path, content in former.items() if _differs(content, _content(path))}
        _replace(job.appliance, changed)
    except OSError as error:
        code = failure.code if isinstance(failure, JobFailed) else "E1000"
        lost = f"the former files could not be put back: {error.filename}: {error.strerror or error}"
        raise JobFailed(f"{failure}; {lost}", code) from failure
    if changed:
        job.log(PUT_BACK)


def _differs(former: bytes | OSError | None, now: bytes | OSError | None) -> bool:
    """Return whether there is something to put back: what could not be replaced is what it was, and stays so."""
    if isinstance(former, OSError) or isinstance(now, OSError):
        return type(former) is not type(now)
    return former != now


def _content(path: Path) -> bytes | OSError | None:
    try:
        return paths.read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        error.filename = str(path)
        return error


def _replace(appliance: Appliance, former: Mapping[Path, bytes | OSError | None]) -> None:
    contents = {path: content for path, content in former.items() if isinstance(content, bytes)}
    appliance.replace_files(contents, MODE)
    for path, content in former.items():
        if content is None:
            _remove(path)
    unreadable = next((each for each in former.values() if isinstance(each, OSError)), None)
    if unreadable is not None:
        raise unreadable


def _remove(path: Path) -> None:
    """Remove a file durably: a note that comes back would put back what was changed long ago."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path.parent, paths.DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

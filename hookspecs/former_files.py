"""Files that are restored when the change that they belong to fails, even by a kill or a power cut.

A symlink in the place of one is restored as a symlink. During the change their former contents are in a note in
`ADMIN/jobs`, which the service alone can read; the recovery of a dead job restores what such a note holds. Of a change
on trial the note stays until the trial has ended: see `tried_files`.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import voluptuous as vol

from jidoteki.hookspecs import paths
from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.jobs import Job, JobError

MODE: Final = 0o640
"""The mode of a file that comes back where none was, and that `modes` does not name; one that was there has its own."""
CANNOT_WRITE: Final = "The settings cannot be written and stay as they were"
PUT_BACK: Final = "The former settings are back in their files"
_SUFFIX: Final = ".former"
_MARK: Final = ".noted"
"""Of an empty file that says that a change on trial has a note, so that a lost one is not taken for none."""
_MAX_NOTE: Final = 32 * 1024 * 1024
_TEXT: Final = vol.All(str, vol.Length(max=4096))
_OPTIONAL: Final = vol.Any(str, None)
_NOTED: Final = {vol.Required("former"): _OPTIONAL, vol.Required("written"): _OPTIONAL, "link": _OPTIONAL, "mode": int}
_NOTE: Final = vol.Schema({_TEXT: _NOTED})


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink."""

    target: str


Former = bytes | Link | OSError | None


@contextlib.contextmanager
def replaced(
    job: Job,
    files: Mapping[Path, str | bytes | None],
    mode: int,
    *,
    modes: Mapping[Path, int] | None = None,
    cannot_write: str = CANNOT_WRITE,
    put_back: str = PUT_BACK,
) -> Iterator[None]:
    """Replace files, and restore them, with a line in the log, if the body of the `with` fails or is cancelled.

    A job type that uses it has what `recovery` returns as its `recover`, for jobs that are killed. Where the change is
    on trial, its `JobType.revert` restores them instead, with `tried_files.put_back`.

    :param files: the new contents by path, at most 8 MiB each; None removes a file. A file that did not exist is
        removed on a failure.
    :param mode: the mode of new files that `modes` does not name.
    :param cannot_write: the beginning of the message when they cannot be written.
    :param put_back: the line in the log when they are restored.
    :raises JobError: they cannot be written; or the failure of the body, if the former files cannot be restored.
    """
    former = {path: content_of(job.appliance, path) for path in files}
    modes = modes or {}
    former_modes = {path: _mode_of(path, modes.get(path, MODE)) for path in files}
    note = note_of(job.appliance, job.id)
    try:
        try:
            _check_restorable(job, former)
            job.appliance.replace_file(note, _noted(former, files, former_modes), 0o600)
            if job.confirm:
                job.appliance.replace_file(mark_of(job.appliance, job.id), "", 0o600)
            _void_others(note)
            replace_all(job.appliance, files, mode, modes)
        except OSError as error:
            raise JobError(f"{cannot_write}: {error.strerror or error}") from error
        yield
    except BaseException as failure:
        if job.confirm:
            raise
        now = {path: content_of(job.appliance, path) for path in former}
        changed = {path: content for path, content in former.items() if differs(content, now[path])}
        _put_back(job, changed, former_modes, failure)
        if changed:
            job.log(put_back)
        raise
    finally:
        if not job.confirm:
            remove(note)


def _check_restorable(job: Job, former: Mapping[Path, Former]) -> None:
    """Refuse to replace a file on trial that could not be restored.

    :raises OSError: there is one.
    """
    for content in former.values():
        if job.confirm and isinstance(content, OSError):
            raise content


def note_of(appliance: Appliance, id: str) -> Path:
    """Return the path of the note of a run."""
    return appliance.jobs / f"{id}{_SUFFIX}"


def mark_of(appliance: Appliance, id: str) -> Path:
    """Return the path of the file that says that a run on trial has a note."""
    return appliance.jobs / f"{id}{_MARK}"


def read_note(note: Path, allowed: set[str]) -> dict[Path, tuple[bytes | Link | None, int]]:
    """Return the former content and the mode of each file in a note.

    :raises OSError: there is none, it cannot be read, or it is damaged.
    """
    try:
        noted = _NOTE(json.loads(paths.read_own(note, _MAX_NOTE)))
        return {Path(path): (_former(each), each.get("mode", MODE)) for path, each in noted.items() if path in allowed}
    except (ValueError, RecursionError, vol.Invalid) as error:
        raise OSError(errno.EBADMSG, "It is damaged", str(note)) from error


def recovery(
    job_type: str, files: Callable[[Appliance], Iterable[Path]], put_back: str = PUT_BACK
) -> Callable[[Appliance], str | None]:
    """Return the `recover` of a job type whose jobs use `replaced`: it restores what a killed job had replaced.

    A file that another program has written since is left as it is, and named. A recovery that raises is called again
    when the service starts and before the next run; the next run that uses `replaced` makes it void.

    :param files: returns the paths that such a job may replace; other paths in a note are ignored.
    :param put_back: what the failure of such a job says when they are restored.
    """

    def recover(appliance: Appliance) -> str | None:
        said = None
        for note in _notes(appliance.jobs, job_type):
            said = _put_back_noted(appliance, note, {str(path) for path in files(appliance)}, put_back) or said
            remove(note)
        return said

    return recover


def _mode_of(path: Path, otherwise: int) -> int:
    """Return the permissions of a regular file, with which it comes back; what is none has others."""
    try:
        status = path.lstat()
    except OSError:
        return otherwise
    return status.st_mode & 0o777 if stat.S_ISREG(status.st_mode) else otherwise


def _noted(former: Mapping[Path, Former], files: Mapping[Path, str | bytes | None], modes: Mapping[Path, int]) -> str:
    """Return a note of the readable files: an unreadable one could not be restored."""
    noted = {
        str(path): {
            "former": base64.b64encode(content).decode() if isinstance(content, bytes) else None,
            "link": content.target if isinstance(content, Link) else None,
            "written": _digest(files[path]),
            "mode": modes[path],
        }
        for path, content in former.items()
        if not isinstance(content, OSError)
    }
    return json.dumps(noted)


def _void_others(note: Path) -> None:
    """Remove the notes of earlier runs: what they hold is older than what the present run replaces."""
    for suffix in (_SUFFIX, _MARK):
        for each in _notes(note.parent, note.stem.partition("-")[2], suffix):
            if each.stem != note.stem:
                remove(each)


def _notes(directory: Path, job_type: str, suffix: str = _SUFFIX) -> list[Path]:
    """Return the notes of a job type; another type's name may end with this one's."""
    return sorted(each for each in directory.glob(f"*{suffix}") if each.stem.partition("-")[2] == job_type)


def _digest(content: str | bytes | None) -> str | None:
    if content is None:
        return None
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _put_back_noted(appliance: Appliance, note: Path, allowed: set[str], put_back: str) -> str | None:
    """Restore the files in a note; return what to say of it, or None if there were none to restore.

    :raises OSError: that is impossible now.
    """
    try:
        noted = _NOTE(json.loads(paths.read_own(note, _MAX_NOTE)))
        former = {Path(path): _former(each) for path, each in noted.items() if path in allowed}
    except (ValueError, RecursionError, vol.Invalid):
        return None  # only the service writes there, so it is incomplete
    own = {path: content for path, content in former.items() if _has(appliance, path, noted[str(path)]["written"])}
    replace_all(appliance, own, MODE, {path: noted[str(path)].get("mode", MODE) for path in own})
    if not own:
        return None
    others = [
        str(path)
        for path, content in former.items()
        if path not in own and differs(content, content_of(appliance, path))
    ]
    return f"{put_back}, but for what was written meanwhile: {', '.join(others)}" if others else put_back


def _former(noted: Mapping[str, str | None]) -> bytes | Link | None:
    if (target := noted.get("link")) is not None:
        return Link(target)
    return None if noted["former"] is None else base64.b64decode(noted["former"], validate=True)


def _has(appliance: Appliance, path: Path, written: str | None) -> bool:
    content = content_of(appliance, path)
    return not isinstance(content, OSError | Link) and _digest(content) == written


def _put_back(job: Job, former: Mapping[Path, Former], modes: Mapping[Path, int], failure: BaseException) -> None:
    """Restore files after a failure.

    :raises JobError: that is impossible.
    """
    try:
        replace_all(job.appliance, former, MODE, modes)
        unreadable = next((each for each in former.values() if isinstance(each, OSError)), None)
        if unreadable is not None:
            raise unreadable
    except OSError as error:
        code = failure.code if isinstance(failure, JobError) else "E1000"
        lost = f"the former files could not be put back: {error.filename}: {error.strerror or error}"
        raise JobError(f"{failure}; {lost}", code) from failure


def differs(former: Former, now: Former) -> bool:
    """Return whether a file must be restored: one that could not be replaced has not changed."""
    if isinstance(former, OSError) or isinstance(now, OSError):
        return type(former) is not type(now)
    return former != now


def content_of(appliance: Appliance, path: Path) -> Former:
    """Return the content of a file or the target of a symlink; None without one, or the error of reading it.

    Read by who writes it: what root alone may read could not be restored otherwise.
    """
    try:
        with appliance.writing(path):
            return Link(os.readlink(path)) if path.is_symlink() else paths.read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        error.filename = str(path)
        return error


def replace_all(appliance: Appliance, files: Mapping[Path, str | Former], mode: int, modes: Mapping[Path, int]) -> None:
    """Write the files that have a content, make the symlinks, and remove what has neither."""
    contents = {path: content for path, content in files.items() if isinstance(content, str | bytes)}
    appliance.replace_files(contents, mode, modes)
    for path, content in files.items():
        if not isinstance(content, str | bytes):
            replace_one(appliance, path, content, mode)


def replace_one(appliance: Appliance, path: Path, content: str | Former, mode: int) -> None:
    """Write a file that has a content, make a symlink, or remove what has neither.

    :param mode: of a file that is not there.
    """
    if isinstance(content, str | bytes):
        appliance.replace_file(path, content, mode)
    elif content is None:
        with appliance.writing(path):
            remove(path)
    elif isinstance(content, Link):
        _link(path, content.target)


def _link(path: Path, target: str) -> None:
    """Replace a file by a symlink, atomically and durably."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.symlink(target, temporary)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    paths.sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably: a note that reappears would restore old files much later."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    paths.sync_directory(path.parent)

"""Files that a change on trial replaced with `former_files.replaced`: what they held before, and putting that back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from jidoteki.hookspecs import former_files, paths
from jidoteki.hookspecs.appliance import Appliance
from jidoteki.hookspecs.jobs import Job, JobError


def put_back(job: Job, files: Iterable[Path], told: str = former_files.PUT_BACK) -> dict[Path, bytes | None]:
    """Restore the files that a change on trial replaced, whoever wrote to them since; it may be called again.

    :param files: the paths that such a job may replace.
    :param told: the line in the log when they are restored.
    :return: the former contents, None for a file that did not exist; empty if nothing was replaced.
    :raises JobError: they cannot be restored.
    """
    try:
        noted = _noted(job, files)
        now = {path: former_files.content_of(job.appliance, path) for path in noted}
        former = {path: each for path, (each, _) in noted.items() if former_files.differs(each, now[path])}
        modes = {path: mode for path, (_, mode) in noted.items()}
        _replace(job.appliance, former, modes)
    except OSError as error:
        raise JobError(
            f"The former files could not be put back: {error.filename}: {error.strerror or error}"
        ) from error
    if former:
        job.log(told)
    return {path: _resolved(path, content) for path, (content, _) in noted.items()}


def _replace(
    appliance: Appliance, former: Mapping[Path, bytes | former_files.Link | None], modes: Mapping[Path, int]
) -> None:
    """Replace files together; one by one where `ADMIN/jobs` takes no journal of that, as on a disk that is read-only.

    :raises OSError: one cannot be replaced.
    """
    if os.access(appliance.jobs, os.W_OK):
        former_files.replace_all(appliance, former, former_files.MODE, modes)
        return
    failure = None
    for path, content in former.items():
        try:
            former_files.replace_one(appliance, path, content, modes[path])
        except OSError as error:
            failure = failure or error
    if failure:
        raise failure


def _noted(job: Job, files: Iterable[Path]) -> Mapping[Path, tuple[bytes | former_files.Link | None, int]]:
    """Return what is noted of the files that a change on trial replaced; nothing if it had not come so far.

    :raises OSError: the note is lost, damaged, or cannot be read.
    """
    try:
        return former_files.read_note(former_files.note_of(job.appliance, job.id), {str(path) for path in files})
    except FileNotFoundError:
        if os.path.lexists(former_files.mark_of(job.appliance, job.id)):
            raise
        return {}


def former_contents(appliance: Appliance, id: str, files: Iterable[Path]) -> dict[Path, bytes | None]:
    """Return the contents that the files had before a run that replaced them on trial; empty if it has not.

    :param id: of the run.
    """
    try:
        noted = former_files.read_note(former_files.note_of(appliance, id), {str(path) for path in files})
    except OSError:
        return {}
    return {path: _resolved(path, content) for path, (content, _) in noted.items()}


def forget(appliance: Appliance, id: str) -> None:
    """Remove what is noted for a run: its change is final, or was put back.

    :raises OSError: that is impossible.
    """
    former_files.remove(former_files.note_of(appliance, id))
    former_files.remove(former_files.mark_of(appliance, id))


def _resolved(path: Path, content: bytes | former_files.Link | None) -> bytes | None:
    """Return a content, of a symlink that of the file it points to."""
    if not isinstance(content, former_files.Link):
        return content
    try:
        return paths.read_regular(path.parent / content.target, follow=True)
    except OSError:
        return None

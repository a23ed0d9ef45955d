"""Files that are restored when the change that they belong to fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import paths
from jidoteki.hookspecs.jobs import Job, JobFailed

MODE: Final = 0o640
"""The mode of a file that was removed in the meantime; the others keep theirs."""


@contextlib.contextmanager
def put_back_on_failure(job: Job, *files: Path) -> Iterator[None]:
    """Restore files to their present content if the `with` block fails, and report it in the log or the failure.

    :param files: regular files of at most 8 MiB; one that does not exist now is removed.
    :raises JobFailed: the block failed, and the files could not be restored.
    """
    former = {path: _content(path) for path in files}
    try:
        yield
    except Exception as failure:
        try:
            changed = {path: content for path, content in former.items() if _differs(content, _content(path))}
            _put_back(job, changed)
        except OSError as error:
            code = failure.code if isinstance(failure, JobFailed) else "E1000"
            lost = f"the former files could not be put back: {error.filename}: {error.strerror or error}"
            raise JobFailed(f"{failure}; {lost}", code) from failure
        if changed:
            job.log("The former settings are back in their files")
        raise


def _differs(former: bytes | OSError | None, now: bytes | OSError | None) -> bool:
    """Return whether a file needs restoring; one that cannot be read was not replaced either."""
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


def _put_back(job: Job, former: dict[Path, bytes | OSError | None]) -> None:
    contents = {path: content for path, content in former.items() if isinstance(content, bytes)}
    job.appliance.replace_files(contents, MODE)
    for path, content in former.items():
        if content is None:
            path.unlink(missing_ok=True)
    unreadable = next((each for each in former.values() if isinstance(each, OSError)), None)
    if unreadable is not None:
        raise unreadable

"""The source of update packages: the one that was passed to the job, or the newest in the uploads directory.

Another user may change anything in the uploads directory at any time: a package there is opened once, and read once.
"""

from __future__ import annotations

import contextlib
import fnmatch
import heapq
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from jidoteki.core.endpoints.update import unpacked
from jidoteki.hookspecs import Job, paths

PACKAGES = "software_package-*.enc"
NOTE = "found.json"
MAX_CANDIDATES = 100
MAX_TOLD = 20

Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Found:
    """An open package."""

    path: Path
    file: BinaryIO

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()


def find(job: Job) -> Found | None:
    """Open the package that was passed to the job, or the newest one in the uploads directory."""
    handed_over = job.input.get("package")
    if handed_over:
        path = Path(handed_over)
        try:
            return _opened(path, paths.open_regular(path))
        except OSError as error:
            job.log(f"{path.name} cannot be read: {error.strerror or error}")
            return None
    return newest(job.appliance.uploads, job.log)


def newest(uploads: Path, tell: Tell) -> Found | None:
    """Open the newest package in the uploads directory.

    :param tell: called with a line about each that is passed over.
    """
    try:
        with paths.directory(uploads) as directory:
            for _, name in heapq.nlargest(MAX_CANDIDATES, _regular(directory, tell)):
                try:
                    return _opened(uploads / name, paths.open_regular(name, dir_fd=directory))
                except OSError as error:
                    tell(f"{name} is passed over: {error.strerror or error}")
    except OSError as error:
        tell(f"{uploads} cannot be read: {error.strerror or error}")
    return None


def _regular(directory: int, tell: Tell) -> Iterator[tuple[int, str]]:
    """Yield time and name of each package in the uploads directory; tell of other files with such a name."""
    told = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if not fnmatch.fnmatchcase(entry.name, PACKAGES):
                continue
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield status.st_mtime_ns, entry.name
                elif told < MAX_TOLD:
                    told += 1
                    tell(f"{entry.name} is passed over: it is not a regular file")


def _opened(path: Path, descriptor: int) -> Found:
    return Found(path, open(descriptor, "rb", buffering=0))


def note(job: Job, found: Found) -> None:
    """Record in the workspace which package is used, for `discard`."""
    status = os.fstat(found.file.fileno())
    (unpacked.workspace(job) / NOTE).write_text(json.dumps([str(found.path), status.st_dev, status.st_ino]))


def discard(job: Job) -> None:
    """Remove the package that was used, durably, unless another one has taken its name.

    A package that is outside of the directories for packages is not removed, nor one whose note is missing or cut off,
    as on a full disk.
    """
    if job.dry_run:
        return
    with contextlib.suppress(OSError, ValueError):
        used, device, inode = json.loads((unpacked.workspace(job) / NOTE).read_text())
        path = Path(used)
        if path.parent not in (job.appliance.uploads, job.appliance.spool) or not path.match(PACKAGES):
            return
        with paths.directory(path.parent) as directory:
            status = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
            if (status.st_dev, status.st_ino) == (device, inode):
                os.unlink(path.name, dir_fd=directory)
                os.fsync(directory)

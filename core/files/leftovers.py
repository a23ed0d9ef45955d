"""Files that killed writers, mistakes or other users leave in the service's directories: its own temporary files are
removed, others set aside or left alone, and logged; none keeps the service from starting."""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jidoteki.hookspecs import paths
from jidoteki.hookspecs.mounts import mounts_below

logger = logging.getLogger(__name__)

TEMPORARY_PREFIX = ".jidoteki-"
#: The names of temporary files of the service and its plugins.
TEMPORARY = re.compile(r"\.jidoteki-(?:[A-Za-z0-9._-]{1,128}-)?[0-9a-f]{16}")
MAX_ENTRIES = 100_000
MAX_DEPTH = 8


def temporary_name(of: str = "") -> str:
    """Return a new name for a temporary file.

    :param of: its final name, if it is to be found by that.
    """
    return f"{TEMPORARY_PREFIX}{of and f'{of}-'}{secrets.token_hex(8)}"


def remove_temporaries_of(directory: Path, name: str) -> None:
    """Remove the temporary files of killed writers of the file `name`; call it while nothing writes that file."""
    with tolerated(f"{directory} cannot be cleared"), paths.directory(directory) as descriptor:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if TEMPORARY.fullmatch(entry.name) and entry.name.startswith(f"{TEMPORARY_PREFIX}{name}-"):
                    _remove_one(descriptor, str(directory), entry)


@contextmanager
def tolerated(what: object) -> Iterator[None]:
    """Log an OSError, or a too deep tree (RecursionError), and suppress it."""
    try:
        yield
    except (OSError, RecursionError) as error:
        logger.error("%s: %s", what, reason(error) if isinstance(error, OSError) else error)


def reason(error: OSError) -> str:
    """Return why a file cannot be used, with the path of the file if the error has it."""
    said = error.strerror or str(error)
    return f"{said}: {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else said


def set_aside(path: Path) -> None:
    """Rename a foreign file at a path of the service to `PATH.aside-…`, and log it.

    :raises OSError: it cannot be renamed.
    """
    aside = path.with_name(f"{path.name[:200]}.aside-{secrets.token_hex(4)}")
    os.rename(path, aside)
    logger.error("%s is not what belongs there: it is now %s", path, aside.name)


def remove(path: Path) -> None:
    """Remove a file, link or directory tree at a path of the service; links are not followed.

    :raises OSError: it cannot be removed, or is or contains a mount point, which no job leaves behind.
    """
    try:
        is_directory = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_directory:
        path.unlink()
        return
    for each in mounts_below(path.parent):
        if f"{each}/".startswith(f"{path.name}/"):
            raise OSError(errno.EBUSY, f"Something is mounted at {path.parent}/{each}")
    shutil.rmtree(path)


def append_own(path: Path, mode: int = 0o600, group: int | None = None) -> int:
    """Open a file of the service for appending and return its descriptor.

    A file that somebody else put there is set aside.

    :param group: group that may read a new file; None for its owner only.
    :raises OSError: it cannot be created or written, or is not a regular file.
    """
    new = not os.path.lexists(path)
    try:
        descriptor = paths.append_regular(path, mode)
    except OSError:
        if paths.is_own(path.lstat()):
            raise
        set_aside(path)
        descriptor, new = paths.append_regular(path, mode), True
    if new and group is not None:
        with suppress(OSError):
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode | 0o040)
    return descriptor


def remove_temporaries(directory: Path, below: bool = False) -> None:
    """Remove the temporary files of killed writers in a directory; call it while nothing writes there.

    Other files with such a name are left alone and logged. Never raises.

    :param below: whether to descend into subdirectories on the same file system.
    """
    with tolerated(f"{directory} cannot be cleared"), paths.directory(directory) as descriptor:
        _remove(descriptor, str(directory), MAX_DEPTH if below else 0, [MAX_ENTRIES])


def _remove(directory: int, name: str, depth: int, left: list[int]) -> None:
    device = os.fstat(directory).st_dev
    inner = []
    with os.scandir(directory) as entries:
        for entry in entries:
            left[0] -= 1
            if left[0] < 0:
                logger.error("%s holds too much to look for leftovers", name)
                return
            if TEMPORARY.fullmatch(entry.name):
                _remove_one(directory, name, entry)
            elif entry.name.startswith(TEMPORARY_PREFIX) and not entry.is_file(follow_symlinks=False):
                logger.warning("%s/%s is not the service's own and stays", name, entry.name)
            elif depth and entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
    for each in inner:
        with tolerated(f"{name}/{each} cannot be cleared"):
            descriptor = os.open(each, paths.DIRECTORY, dir_fd=directory)
            try:
                if os.fstat(descriptor).st_dev == device:
                    _remove(descriptor, f"{name}/{each}", depth - 1, left)
            finally:
                os.close(descriptor)


def _remove_one(directory: int, name: str, entry: os.DirEntry[str]) -> None:
    with tolerated(f"{name}/{entry.name} cannot be removed"):
        mode = os.stat(entry.name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            os.unlink(entry.name, dir_fd=directory)
        else:
            logger.warning("%s/%s is not the service's own and stays", name, entry.name)

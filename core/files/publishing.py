"""Publishing files for download: they are kept in the service's spool, with copies in the uploads directory.

They are copies, not hard links: a `chown -R` may give the owner of that directory everything in it, but must not give
away the service's own file.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from jidoteki.core import files
from jidoteki.core.files import leftovers
from jidoteki.hookspecs import paths, published

logger = logging.getLogger(__name__)

MODE = published.MODE
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
CHUNK = 1024 * 1024
KERNEL_CHUNK = 64 * 1024 * 1024
#: The errors of copy_file_range(2) where the kernel cannot copy.
_NOT_BY_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def publish(path: Path, spool: Path, uploads: Path, name: str, group: int | None = None) -> Path:
    """Move a finished file to the spool and put a copy into the uploads directory.

    :param group: group that may read the copy, beside its owner.
    :raises OSError: it cannot be moved; a previous file is still there.
    """
    if "/" in name or name in ("", ".", ".."):
        raise ValueError("publish() takes a file name, not a path")
    target = spool / name
    os.chmod(path, MODE)
    _move(path, target)
    try:
        with paths.directory(uploads) as directory:
            _publish_copy(target, directory, group)
    except OSError as error:
        # A file in the way there is somebody else's, and no reason to fail.
        logger.warning("%s is not shown in %s: %s", name, uploads, error.strerror or error)
    return target


def withdraw(spool: Path, uploads: Path, name: str) -> None:
    """Remove a published file and its copy, with temporary files that a killed `publish` left.

    :raises OSError: it can still be downloaded.
    """
    (spool / name).unlink(missing_ok=True)
    with suppress(OSError), paths.directory(uploads) as directory:
        os.unlink(name, dir_fd=directory)
    for each in (spool, uploads):
        leftovers.remove_temporaries_of(each, name)


def _move(path: Path, target: Path) -> None:
    try:
        os.rename(path, target)
    except IsADirectoryError:
        leftovers.set_aside(target)
        os.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_over(path, target)


def _move_over(path: Path, target: Path) -> None:
    """Move a file to another file system."""
    waiting = target.with_name(leftovers.temporary_name(target.name))
    try:
        with open(os.open(waiting, NEW, MODE), "wb") as copy, open(paths.open_regular(path), "rb") as source:
            shutil.copyfileobj(source, copy, CHUNK)
        _move(waiting, target)
    finally:
        waiting.unlink(missing_ok=True)
    path.unlink()


def _publish_copy(target: Path, directory: int, group: int | None) -> None:
    temporary = leftovers.temporary_name(target.name)
    try:
        _copy(target, temporary, directory, group)
        os.rename(temporary, target.name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        for name in (temporary, target.name):  # no copy is better than an outdated one
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
        raise


def _copy(source: Path, name: str, directory: int, group: int | None) -> None:
    """Copy a file if that takes at most half of the free space."""
    with open(paths.open_regular(source), "rb", buffering=0) as file:
        status = os.fstatvfs(directory)
        size = os.fstat(file.fileno()).st_size
        if size > status.f_bavail * status.f_frsize // 2:
            raise OSError(errno.ENOSPC, "There is too little room for a copy")
        with open(os.open(name, NEW, MODE, dir_fd=directory), "wb", buffering=0) as copy:
            if not _copied_by_kernel(file.fileno(), copy.fileno(), size):
                while chunk := file.read(CHUNK):
                    files.write_all(copy.fileno(), chunk)
            if group is not None:
                with suppress(OSError):
                    os.fchown(copy.fileno(), -1, group)
                    os.fchmod(copy.fileno(), published.MODE_OF_GROUP)
            published.mark(copy.fileno())


def _copied_by_kernel(source: int, copy: int, size: int) -> bool:
    """Let the kernel copy, which takes neither time nor space on a file system that can share the blocks."""
    done = 0
    while done < size:
        try:
            more = os.copy_file_range(source, copy, min(KERNEL_CHUNK, size - done))
        except OSError as error:
            if done or error.errno not in _NOT_BY_KERNEL:
                raise
            return False
        if not more:
            break
        done += more
    return done == size

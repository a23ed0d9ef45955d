"""Finished files: they lie in the spool, the service's own; the uploads directory shows copies of them.

Copies, not second names: whoever owns that directory may be given all that lies in it by a `chown -R`, and must not get
the service's own file with it.
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
#: What the kernel says where it cannot copy by itself.
_NOT_BY_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def publish(path: Path, spool: Path, uploads: Path, name: str, group: int | None = None) -> Path:
    """Move a finished file to the spool and show a copy in the uploads directory.

    :param group: who may read the copy, beside its owner.
    :raises OSError: it cannot be moved; what was there before is still there.
    """
    if "/" in name or name in ("", ".", ".."):
        raise ValueError("publish() takes a file name, not a path")
    target = spool / name
    os.chmod(path, MODE)
    _move(path, target)
    try:
        with paths.directory(uploads) as directory:
            _show(target, directory, group)
    except OSError as error:
        # Whatever lies in the way there is somebody else's, and no reason to fail.
        logger.warning("%s is not shown in %s: %s", name, uploads, error.strerror or error)
    return target


def withdraw(spool: Path, uploads: Path, name: str) -> None:
    """Remove a published file from both places, and what was left there when its publishing was killed.

    :raises OSError: it is still to be downloaded.
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
    """Move it to another file system."""
    waiting = target.with_name(leftovers.temporary_name(target.name))
    try:
        with open(os.open(waiting, NEW, MODE), "wb") as copy, open(paths.open_regular(path), "rb") as source:
            shutil.copyfileobj(source, copy, CHUNK)
        _move(waiting, target)
    finally:
        waiting.unlink(missing_ok=True)
    path.unlink()


def _show(target: Path, directory: int, group: int | None) -> None:
    temporary = leftovers.temporary_name(target.name)
    try:
        _copy(target, temporary, directory, group)
        os.rename(temporary, target.name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        for name in (temporary, target.name):  # none is better there than an old one
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
        raise


def _copy(source: Path, name: str, directory: int, group: int | None) -> None:
    """Copy it if there is room: half of what is free stays free."""
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
    """Let the kernel copy, which costs neither time nor room where the file system can share the blocks."""
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

"""Finished files: they lie in the spool, the service's own; the uploads directory shows them under a second name."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from jidoteki.core import files
from jidoteki.hookspecs import paths

logger = logging.getLogger(__name__)

MODE = 0o600
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def publish(path: Path, spool: Path, uploads: Path, name: str) -> Path:
    """Move a finished file to the spool and show it in the uploads directory.

    :raises OSError: it cannot be moved; what was there before is still there.
    """
    if "/" in name or name in ("", ".", ".."):
        raise ValueError("publish() takes a file name, not a path")
    target = spool / name
    os.chmod(path, MODE)
    _move(path, target)
    try:
        _show(target, uploads)
    except OSError as error:
        # Whatever lies in the way there is somebody else's, and no reason to fail.
        logger.warning("%s is not shown in %s: %s", name, uploads, error.strerror or error)
    return target


def withdraw(spool: Path, uploads: Path, name: str) -> None:
    """Remove a published file from both places, and what was left there when its publishing was killed.

    :raises OSError: it is still to be downloaded.
    """
    (spool / name).unlink(missing_ok=True)
    with suppress(OSError):
        (uploads / name).unlink(missing_ok=True)
    for directory in (spool, uploads):
        with suppress(OSError):
            for left in os.listdir(directory):
                if left.startswith(_temporary(name, "")):
                    (directory / left).unlink()


def _move(path: Path, target: Path) -> None:
    try:
        os.rename(path, target)
        return
    except OSError:
        # The work space and the spool may lie on different file systems; what else is wrong shows here again.
        waiting = target.with_name(_temporary(target.name))
    try:
        with open(os.open(waiting, NEW, MODE), "wb") as copy, path.open("rb") as source:
            shutil.copyfileobj(source, copy, 1024 * 1024)
        os.rename(waiting, target)
    finally:
        waiting.unlink(missing_ok=True)
    path.unlink()


def _show(target: Path, uploads: Path) -> None:
    directory = os.open(uploads, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    temporary = _temporary(target.name)
    try:
        try:
            os.link(target, temporary, dst_dir_fd=directory, follow_symlinks=False)
        except OSError:
            _copy(target, temporary, directory)
        os.rename(temporary, target.name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    finally:
        os.close(directory)


def _copy(source: Path, name: str, directory: int) -> None:
    """On another file system, if there is room for it."""
    with open(paths.open_regular(source), "rb") as file:
        status = os.fstatvfs(directory)
        if os.fstat(file.fileno()).st_size > status.f_bavail * status.f_frsize // 2:
            raise OSError("there is too little room for a copy")
        with open(os.open(name, NEW, MODE, dir_fd=directory), "wb") as copy:
            shutil.copyfileobj(file, copy, 1024 * 1024)


def _temporary(name: str, end: str | None = None) -> str:
    return f"{files.TEMPORARY_PREFIX}{name}-{secrets.token_hex(8) if end is None else end}"

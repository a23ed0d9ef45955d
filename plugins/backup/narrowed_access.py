"""Narrowing the access to directories that stay, to what the archive allows, before anything is put into them.

They get the archive's metadata only after all renames. The former metadata are kept in an empty directory beside the
old entries, for a rollback.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import owners
from jidoteki.plugins.backup.descriptors import closing, exists
from jidoteki.plugins.backup.directory_metadata import copy_metadata
from jidoteki.plugins.backup.plan_lines import Line
from jidoteki.plugins.backup.volumes import Volumes

_LIKE: Final = f"{RESERVED}like"
_KEPT: Final = f"{RESERVED}kept"
_COPYING: Final = f"{RESERVED}copying"
_NOTE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def narrow(volumes: Volumes, number: int, line: Line) -> None:
    """Narrow the access to a line's directory to what both its present metadata and the archive allow.

    :raises OSError: the directory was replaced, or cannot be changed.
    """
    if line.time is None:
        return
    place = _opened(volumes, line)
    with closing(place), closing(volumes.new(line.directory)) as new:
        check(line, place)
        own, wanted = os.fstat(place), os.fstat(new)
        others = (own.st_uid, own.st_gid) != (wanted.st_uid, wanted.st_gid) or owners.lists(place) != owners.lists(new)
        mode = own.st_mode & wanted.st_mode & 0o7777
        if not others and mode == stat.S_IMODE(own.st_mode):
            return
        aside = volumes.of(line.directory).old
        with suppress(FileExistsError):
            os.mkdir(str(number), 0o700, dir_fd=aside)
        with closing(directory_beneath(aside, [str(number)])) as old:
            _keep(place, old)
        with suppress(PermissionError):  # no owners on this file system, or another user's: reported at the end
            owners.close(place, mode) if others else os.fchmod(place, mode)


def take_back(volumes: Volumes, number: int, line: Line) -> None:
    """Restore the former metadata of a directory.

    :raises OSError: they cannot be set.
    """
    if line.time is None or not exists(str(number), volumes.of(line.directory).old):
        return
    with closing(directory_beneath(volumes.of(line.directory).old, [str(number)])) as old:
        if not exists(_KEPT, old):
            return
        with suppress(FileNotFoundError), closing(_opened(volumes, line)) as place:
            if os.fstat(place).st_ino == line.inode:
                with closing(directory_beneath(old, [_LIKE])) as like, suppress(PermissionError):
                    copy_metadata(like, place, os.fstat(like).st_mtime_ns)
        os.unlink(_KEPT, dir_fd=old)


def check(line: Line, place: int) -> None:
    """Check that a directory is the one that was planned for, if others may have replaced it.

    :param place: its descriptor.
    :raises OSError: it is not.
    """
    status = os.fstat(place)
    if line.owner is not None and (status.st_uid, status.st_ino) != (line.owner, line.inode):
        raise _replaced(line.directory)


def keep_like(directory: int, old: int, name: str) -> None:
    """Create an empty directory with the metadata of another one, unless it exists.

    :param directory: descriptor of the other one.
    :param old: descriptor of the directory to create it in.
    :raises OSError: it cannot be created.
    """
    if not exists(name, old):
        _copy(directory, old, _COPYING)
        os.rename(_COPYING, name, src_dir_fd=old, dst_dir_fd=old)


def _keep(directory: int, old: int) -> None:
    """Do the same with a marker of completion, as directories cannot be renamed everywhere."""
    if not exists(_KEPT, old):
        _copy(directory, old, _LIKE)
        os.close(os.open(_KEPT, _NOTE, 0o600, dir_fd=old))


def _copy(directory: int, old: int, name: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=old)
    with closing(directory_beneath(old, [name])) as copy, suppress(PermissionError):
        copy_metadata(directory, copy, os.fstat(directory).st_mtime_ns)


def _opened(volumes: Volumes, line: Line) -> int:
    try:
        return volumes.place(line.directory)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise _replaced(line.directory) from error


def _replaced(directory: str) -> OSError:
    return FileNotFoundError(errno.ENOENT, f"{directory} was replaced meanwhile")

"""Hard links in an archive, which may only link to earlier members."""

from __future__ import annotations

import copy
import errno
import os
import stat
import tarfile
from collections.abc import Callable

from jidoteki.core.archives.directories import Directories
from jidoteki.core.archives.tar import refuse
from jidoteki.hookspecs.restorable import can_restore, is_reserved, parts

Copy = Callable[[int], None]


def link(info: tarfile.TarInfo, directories: Directories, parent: int, copy_of: Copy) -> tarfile.TarInfo | None:
    """Create a hard link.

    :param directories: the tree unpacked so far, which must contain the target.
    :param parent: descriptor of the directory in which the link is created.
    :param copy_of: copies an open file instead where no link is possible: on another file system, or with too many
        links.
    :return: the symbolic link to create instead if the target is one: its meaning depends on its place, and must be
        checked.
    :raises ArchiveError: the target is not an existing file or symbolic link.
    :raises OSError: the link cannot be created.
    """
    target = parts(info.linkname)
    if not target or any(map(is_reserved, target)) or can_restore(info.linkname, _named(info), None):
        raise refuse(info.name, "is a hard link that leads elsewhere")
    try:
        directory = directories.beneath(target[:-1])
    except OSError as error:
        raise _unknown(info) from error
    try:
        return _link(info, target[-1], directory, parent, copy_of)
    finally:
        os.close(directory)


def _link(info: tarfile.TarInfo, target: str, directory: int, parent: int, copy_of: Copy) -> tarfile.TarInfo | None:
    try:
        mode = os.stat(target, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError as error:
        raise _unknown(info) from error
    name = parts(info.name)[-1]
    if stat.S_ISREG(mode):
        try:
            os.link(target, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
            with open(os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), "rb") as source:
                copy_of(source.fileno())
            if error.errno == errno.EMLINK:
                _continue_with(name, target, directory, parent)
        return None
    if not stat.S_ISLNK(mode):
        raise refuse(info.name, "is a hard link to something that is no file")
    again = copy.copy(info)
    again.type, again.linkname = tarfile.SYMTYPE, os.readlink(target, dir_fd=directory)
    return again


def _continue_with(copied: str, target: str, directory: int, parent: int) -> None:
    """Put a copy in the place of a file that has as many names as it may, for the links that follow."""
    os.rename(copied, target, src_dir_fd=parent, dst_dir_fd=directory)
    os.link(target, copied, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)


def _named(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a regular file with the name of the link's target."""
    result = tarfile.TarInfo(info.linkname)
    result.mode = 0o600
    return result


def _unknown(info: tarfile.TarInfo) -> Exception:
    return refuse(info.name, "is a hard link to what the archive does not hold before it")

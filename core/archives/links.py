"""Hard links in an archive: a second name for what it brought before, and for nothing else."""

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
    """Make a hard link in the directory that it lies in.

    :param directories: what the archive was unpacked into so far; its link's target lies in there.
    :param parent: descriptor of the directory that the link is put into.
    :param copy_of: makes a copy in its place of what is open where no link can be: on another file system, or where
        the file has too many names.
    :return: the symbolic link to make in its place, when it is a second name for one: where it leads depends on where
        it lies, which is to be judged.
    :raises ArchiveError: there is no file or symbolic link of that name.
    :raises OSError: the link cannot be made.
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
        return None
    if not stat.S_ISLNK(mode):
        raise refuse(info.name, "is a hard link to something that is no file")
    again = copy.copy(info)
    again.type, again.linkname = tarfile.SYMTYPE, os.readlink(target, dir_fd=directory)
    return again


def _named(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """An ordinary file of the name that the link leads to."""
    result = tarfile.TarInfo(info.linkname)
    result.mode = 0o600
    return result


def _unknown(info: tarfile.TarInfo) -> Exception:
    return refuse(info.name, "is a hard link to what the archive does not hold before it")

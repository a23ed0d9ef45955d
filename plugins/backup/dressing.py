"""Owner, mode, times, lists and attributes of directories that a restore does not put in place as they are.

One that the data and the archive have in common stays, and gets what the archive says of it. One that the archive does
not hold as a member, but only something below it, says nothing: where it is missing, it becomes like the one above it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from jidoteki.hookspecs import file_attributes, posix_acl
from jidoteki.hookspecs.paths import DIRECTORY, directory_beneath
from jidoteki.hookspecs.restorable import IMPLIED
from jidoteki.plugins.backup.descriptors import closing
from jidoteki.plugins.backup.plans import Line, Tell, components
from jidoteki.plugins.backup.volumes import Volumes

MAX_TOLD: Final = 100
_LISTS: Final = (posix_acl.ACCESS, posix_acl.DEFAULT)
_INHERITED: Final = 0o2777
"""What the one above says of the mode."""


class Dressing:
    """Gives directories in the data the metadata of those in the new tree.

    :param volumes: the new tree, by file systems.
    :param tell: told of what a directory cannot get.
    """

    def __init__(self, volumes: Volumes, tell: Tell) -> None:
        self._volumes = volumes
        self._tell = tell
        self._count = 0

    def dress(self, line: Line) -> None:
        """Give the directory of a line its metadata, if the archive says any."""
        if line.time is None:
            return
        try:
            with (
                closing(directory_beneath(self._volumes.data, components(line.directory))) as place,
                closing(self._volumes.new(line.directory)) as new,
            ):
                if os.fstat(place).st_ino != line.inode:
                    raise OSError(errno.ESTALE, "another directory is in its place")
                copy_metadata(new, place, line.time)
        except OSError as error:
            self._count += 1
            if self._count <= MAX_TOLD:
                self._tell(f"{line.directory} stays with the owner, mode or time that it had: {error.strerror}")

    def narrow(self, line: Line) -> None:
        """Let nobody into the directory of a line whom its like in the new tree keeps out.

        :raises OSError: it is another one than when this was planned.
        """
        if line.before is not None:
            with (
                closing(self._volumes.place(line.directory)) as place,
                closing(self._volumes.new(line.directory)) as new,
            ):
                narrow(new, place, line.inode)

    def undo(self, line: Line) -> None:
        """Give the directory of a line the owner and mode back that it had."""
        if line.before is not None:
            with suppress(OSError), closing(self._volumes.place(line.directory)) as place:
                if os.fstat(place).st_ino == line.inode:
                    uid, gid, mode = line.before
                    os.fchown(place, uid, gid)
                    os.fchmod(place, mode)

    def end(self) -> None:
        """Tell how many lines were left out."""
        if self._count > MAX_TOLD:
            self._tell(f"{self._count - MAX_TOLD} more directories stay as they were")


def differs(source: int, place: int) -> bool:
    """Whether a directory lets others in than another one."""
    wanted, there = os.fstat(source), os.fstat(place)
    return (wanted.st_uid, wanted.st_gid, wanted.st_mode) != (there.st_uid, there.st_gid, there.st_mode) or (
        _list(source) != _list(place)
    )


def narrow(source: int, place: int, inode: int) -> None:
    """Let nobody into a directory whom another one keeps out, before something is put there.

    :param inode: the number of the directory.
    :raises OSError: it has another one.
    """
    if not differs(source, place):
        return
    wanted, there = os.fstat(source), os.fstat(place)
    if there.st_ino != inode:
        raise OSError(errno.ESTALE, "a directory was replaced meanwhile")
    # Of a list that is another one nobody has anything without the group's bits, which are its mask.
    mode = wanted.st_mode if _list(source) == _list(place) else wanted.st_mode & ~stat.S_IRWXG
    with suppress(OSError):  # `dress` tells
        if (wanted.st_uid, wanted.st_gid) != (there.st_uid, there.st_gid):
            os.fchown(place, wanted.st_uid, wanted.st_gid)
        os.fchmod(place, stat.S_IMODE(mode) | stat.S_IRWXU)


def _list(directory: int) -> bytes:
    try:
        return os.getxattr(directory, posix_acl.ACCESS)
    except OSError:  # there is none
        return b""


def copy_metadata(source: int, place: int, time: int) -> None:
    """Give a directory owner, mode, lists and attributes of another one on the same file system.

    :param source: descriptor of the other one.
    :param place: descriptor of the directory.
    :param time: when it was changed, in nanoseconds since the epoch.
    :raises OSError: that is impossible.
    """
    wanted, there = os.fstat(source), os.fstat(place)
    if wanted.st_dev != there.st_dev:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    if (wanted.st_uid, wanted.st_gid) != (there.st_uid, there.st_gid):
        os.fchown(place, wanted.st_uid, wanted.st_gid)
    if wanted.st_mode != there.st_mode:
        os.fchmod(place, stat.S_IMODE(wanted.st_mode))
    found = _attributes(source)
    for name in found:
        os.setxattr(place, name, os.getxattr(source, name))
    for name in _LISTS:
        if name not in found:
            with suppress(OSError):  # there is none
                os.removexattr(place, name)
    os.utime(place, ns=(time, time))


def _attributes(directory: int) -> list[str]:
    """The attributes of a directory that come from the archive: its label may be one that the system gave it."""
    try:
        found = os.listxattr(directory)
    except OSError:  # not every file system has any
        return []
    own = (name for name in found if file_attributes.is_kept(name) and not name.startswith("security."))
    return [*own, *(name for name in _LISTS if name in found)]


def settle(name: str, parent: int, place: int) -> None:
    """Make those directories like the one above that the archive did not hold as members.

    :param name: of a directory in the new tree that comes as a whole.
    :param parent: descriptor of the directory that it is in.
    :param place: descriptor of the one that it is put into.
    :raises OSError: that is impossible.
    """
    _settle(name, parent, os.fstat(place))


def _settle(name: str, parent: int, above: os.stat_result) -> None:
    with closing(os.open(name, DIRECTORY, dir_fd=parent)) as directory:
        status = os.fstat(directory)
        if status.st_mode & IMPLIED:
            mode = above.st_mode & _INHERITED | stat.S_IRWXU
            if os.geteuid() == 0 and file_attributes.give_owner(directory, above.st_uid, above.st_gid):
                mode &= ~stat.S_ISGID
            os.fchmod(directory, mode)
            status = above
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _settle(entry.name, directory, status)

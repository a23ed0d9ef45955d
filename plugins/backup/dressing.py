"""Owner, mode, times, lists and attributes of directories that a restore does not put in place as they are.

One that the data and the archive have in common stays, and gets what the archive says of it. One that the archive does
not hold as a member, but only something below it, says nothing: where it is missing, it becomes like the one above it.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from jidoteki.hookspecs import file_attributes
from jidoteki.hookspecs.paths import DIRECTORY, directory_beneath
from jidoteki.hookspecs.restorable import IMPLIED
from jidoteki.plugins.backup import owners
from jidoteki.plugins.backup.descriptors import closing
from jidoteki.plugins.backup.plans import Line, Tell, components
from jidoteki.plugins.backup.volumes import Volumes

MAX_TOLD: Final = 100
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

    def end(self) -> None:
        """Tell how many lines were left out."""
        if self._count > MAX_TOLD:
            self._tell(f"{self._count - MAX_TOLD} more directories stay as they were")


def copy_metadata(source: int, place: int, time: int) -> None:
    """Give a directory owner, mode, lists and attributes of another one on the same file system, and no others.

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
    kept = _attributes(source)
    gone = [name for name in _attributes(place) if name not in kept]
    if gone:
        os.fchmod(place, stat.S_IMODE(there.st_mode) & 0o700)  # the group gets what a list's mask allows, without it
        owners.remove(place, gone)
    if gone or wanted.st_mode != there.st_mode:
        os.fchmod(place, stat.S_IMODE(wanted.st_mode))
    for name in kept:
        os.setxattr(place, name, os.getxattr(source, name))
    os.utime(place, ns=(time, time))


def _attributes(directory: int) -> list[str]:
    """The attributes of a directory that come from the archive: its label may be one that the system gave it."""
    found = owners.names(directory)
    own = (name for name in found if file_attributes.is_kept(name) and not name.startswith("security."))
    return [*own, *(name for name in owners.LISTS if name in found)]


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

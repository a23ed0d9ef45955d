"""Owner, mode, times, ACLs and attributes of directories that a restore does not rename as a whole.

A directory that exists in the data and in the archive stays, and gets the archive's metadata. One that is not itself a
member of the archive, but has one below it, has none: if it is created, it inherits those of its parent.
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
from jidoteki.plugins.backup.plan_lines import Line, Tell, components
from jidoteki.plugins.backup.volumes import Volumes

MAX_TOLD: Final = 100
_INHERITED: Final = 0o2777
"""The mode bits that are inherited from the parent."""


class Dressing:
    """A setter of the metadata of directories in the data, from those in the new tree.

    :param volumes: the new tree, by file systems.
    :param tell: called with a message for each directory that cannot get them.
    """

    def __init__(self, volumes: Volumes, tell: Tell) -> None:
        self._volumes = volumes
        self._tell = tell
        self._count = 0

    def dress(self, line: Line) -> None:
        """Set the metadata of a line's directory, if the archive has any."""
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
        """Report how many messages were left out."""
        if self._count > MAX_TOLD:
            self._tell(f"{self._count - MAX_TOLD} more directories stay as they were")


def copy_metadata(source: int, place: int, time: int) -> None:
    """Set owner, mode, ACLs and attributes of a directory to those of another one on the same file system.

    :param source: descriptor of the other one.
    :param place: descriptor of the directory.
    :param time: modification time, in nanoseconds since the epoch.
    :raises OSError: they cannot be set.
    """
    wanted, there = os.fstat(source), os.fstat(place)
    if wanted.st_dev != there.st_dev:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    if (wanted.st_uid, wanted.st_gid) != (there.st_uid, there.st_gid):
        os.fchown(place, wanted.st_uid, wanted.st_gid)
    kept = _attributes(source)
    gone = [name for name in _attributes(place) if name not in kept]
    if gone:
        os.fchmod(place, stat.S_IMODE(there.st_mode) & 0o700)  # without its ACL, the mask would become the group's bits
        owners.remove(place, gone)
    if gone or wanted.st_mode != there.st_mode:
        os.fchmod(place, stat.S_IMODE(wanted.st_mode))
    for name in kept:
        os.setxattr(place, name, os.getxattr(source, name))
    os.utime(place, ns=(time, time))


def _attributes(directory: int) -> list[str]:
    """Return the attributes of a directory that are the archive's; not its label, which the system may have set."""
    found = owners.names(directory)
    own = (name for name in found if file_attributes.is_kept(name) and not name.startswith("security."))
    return [*own, *(name for name in owners.LISTS if name in found)]


def settle(name: str, parent: int, place: int) -> None:
    """Let new directories that are not members of the archive inherit from their parents.

    :param name: of a directory in the new tree that is renamed as a whole.
    :param parent: descriptor of the directory that it is in.
    :param place: descriptor of the directory that it is moved to.
    :raises OSError: their metadata cannot be set.
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

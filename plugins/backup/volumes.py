"""The file systems that a restore writes to: that of the data directory, and those mounted below it.

Nothing can be renamed from one to another. So each has a restore directory, with the same name and key.
"""

from __future__ import annotations

import errno
import os
import resource
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.plugins.backup import staging as stagings
from jidoteki.plugins.backup.journal import MAX_MOUNTS, STAGING, Entry
from jidoteki.plugins.backup.plan_lines import components
from jidoteki.plugins.backup.staging import NEW, OLD, Staging

MAIN: Final = ""
"""The path of the data directory itself."""
#: Four descriptors for each file system, and those that a service or job has open anyway.
_DESCRIPTORS: Final = 4 * MAX_MOUNTS + 4096


class VolumeAbsentError(Exception):
    """A file system without the expected restore directory.

    :param path: its mount point below the data directory.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system, with descriptors that stay open as long as those of the others."""

    path: str
    """Its mount point below the data directory."""
    top: int
    staging: Staging
    new: int
    old: int

    def is_fixed(self) -> bool:
        """Return whether no directory can be renamed in it, tested with the restore directory.

        That is so on overlayfs in a user namespace without the option `userxattr`, where no new directory can replace
        one of the lower layer, either.
        """
        name, other = self.staging.name, f"{STAGING}{secrets.token_hex(8)}"
        try:
            os.replace(name, other, src_dir_fd=self.top, dst_dir_fd=self.top)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return True
        os.replace(other, name, src_dir_fd=self.top, dst_dir_fd=self.top)
        return False


def _allow_descriptors() -> None:
    """Raise the limit of open files for the maximum number of file systems."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Volumes:
    """The file systems of one restore.

    :param data: descriptor of the data directory, which stays open.
    :param opened: closes the descriptors.
    """

    def __init__(self, data: int, opened: ExitStack) -> None:
        self.data = data
        self._opened = opened
        _allow_descriptors()
        self._all: dict[str, Volume] = {}
        self.absent: set[str] = set()
        self._done: set[str] = set()

    def __iter__(self) -> Iterator[Volume]:
        return iter(self._all.values())

    @property
    def main(self) -> Volume:
        """The file system of the data directory."""
        return self._all[MAIN]

    def at(self, path: str) -> Volume | None:
        """Return the file system mounted at a path, if anything is restored to it."""
        return self._all.get(path)

    def of(self, directory: str) -> Volume:
        """Return the file system that a directory is on.

        :raises VolumeAbsentError: it was not found, or not searched for.
        """
        while directory not in self._all:
            if directory in self.absent or directory in self._done:
                raise VolumeAbsentError(directory)
            directory = directory.rpartition("/")[0]
        return self._all[directory]

    def has(self, directory: str) -> bool:
        """Return whether the file system that a directory is on was found."""
        try:
            self.of(directory)
        except VolumeAbsentError:
            return False
        return True

    def new(self, directory: str) -> int:
        """Open a directory in the new tree.

        :raises OSError: there is none.
        """
        volume = self.of(directory)
        return _beneath(volume.new, volume, directory)

    def place(self, directory: str) -> int:
        """Open a directory in the data through its file system, even if that was unmounted in the meantime.

        :raises OSError: there is none.
        """
        volume = self.of(directory)
        return _beneath(volume.top, volume, directory)

    def make(self, path: str, entry: Entry) -> Volume:
        """Create the restore directory on one of them.

        :raises OSError: it cannot be created; nothing is left of it.
        """
        return self._add(path, partial(stagings.make, entry=entry, mounted=path != MAIN))

    def find(self, entry: Entry, without: bool = False) -> None:
        """Find those file systems of a journal's entry on which anything is left to do.

        :param without: whether those below the data directory may be absent.
        :raises VolumeAbsentError: the restore directory is missing on one of them.
        """
        for path in entry.paths:
            if entry.back and path not in entry.back:
                self._done.add(path)
                continue
            try:
                self._add(path, partial(_found, entry=entry, path=path))
            except (OSError, VolumeAbsentError) as error:
                if path == MAIN or not without:
                    raise VolumeAbsentError(path) from error
                self.absent.add(path)

    def _add(self, path: str, enter: Callable[[int], Staging]) -> Volume:
        with ExitStack() as opened:
            top = directory_beneath(self.data, components(path))
            opened.callback(os.close, top)
            staging = opened.enter_context(enter(top))
            new, old = (opened.enter_context(staging.opened(name)) for name in (NEW, OLD))
            volume = self._all[path] = Volume(path, top, staging, new, old)
            self._opened.push(opened.pop_all())
            return volume


def _beneath(top: int, volume: Volume, directory: str) -> int:
    return directory_beneath(top, components(directory.removeprefix(volume.path).removeprefix("/")))


def _found(top: int, *, entry: Entry, path: str) -> Staging:
    staging = stagings.find(top, entry, mounted=path != MAIN)
    if staging is None:
        raise VolumeAbsentError(path)
    return staging


def is_mounted(data: int, path: str, mounts: Collection[str]) -> bool:
    """Return whether a directory is a mount point, or the top of a part of a file system, such as a Btrfs subvolume.

    :param data: descriptor of the data directory.
    :param mounts: the mount points.
    """
    if path in mounts:
        return True
    try:
        above = path.rpartition("/")[0] or "."
        own, other = (os.stat(each, dir_fd=data, follow_symlinks=False).st_dev for each in (path, above))
    except OSError:
        return False
    return own != other

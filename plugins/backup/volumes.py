"""The file systems that a restore puts something on: that of the data directory, and those mounted below it.

Nothing is renamed from one to another. So there is a directory of the restore on each, with the same name and key.
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
from jidoteki.plugins.backup.plans import components
from jidoteki.plugins.backup.staging import NEW, OLD, Staging

MAIN: Final = ""
"""The path of the data directory itself."""
#: Four for each file system, and what else a service or job has open.
_DESCRIPTORS: Final = 4 * MAX_MOUNTS + 4096


class Absent(Exception):
    """The directory of a restore is not on a file system.

    :param path: where that one should be, below the data directory.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class Volume:
    """One file system, with descriptors that are open as long as the others are."""

    path: str
    """Where it is mounted, below the data directory."""
    top: int
    staging: Staging
    new: int
    old: int

    def is_fixed(self) -> bool:
        """Find out whether no directory can be renamed in it, not even a new one, with that of the restore.

        So it is with overlayfs in a user namespace, without `userxattr` among its options: there no new directory can
        take the place of one of the lower layer either.
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
    """Let this process have open what is open for as many file systems as there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Volumes:
    """All of one restore.

    :param data: descriptor of the data directory, which stays open.
    :param opened: closes what is opened.
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
        """That of the data directory."""
        return self._all[MAIN]

    def at(self, path: str) -> Volume | None:
        """The one that is mounted at a path, if anything is restored there."""
        return self._all.get(path)

    def of(self, directory: str) -> Volume:
        """The one that a directory is on.

        :raises Absent: that was not found, or not looked for.
        """
        while directory not in self._all:
            if directory in self.absent or directory in self._done:
                raise Absent(directory)
            directory = directory.rpartition("/")[0]
        return self._all[directory]

    def has(self, directory: str) -> bool:
        """Whether the one that a directory is on was found."""
        try:
            self.of(directory)
        except Absent:
            return False
        return True

    def new(self, directory: str) -> int:
        """Open the directory's like in the new tree.

        :raises OSError: there is none.
        """
        volume = self.of(directory)
        return _beneath(volume.new, volume, directory)

    def place(self, directory: str) -> int:
        """Open the directory itself, by way of its file system, even if that was unmounted meanwhile.

        :raises OSError: there is none.
        """
        volume = self.of(directory)
        return _beneath(volume.top, volume, directory)

    def make(self, path: str, entry: Entry) -> Volume:
        """Make the directory of the restore on one of them.

        :raises OSError: that is impossible, and nothing is left of it.
        """
        return self._add(path, partial(stagings.make, entry=entry, mounted=path != MAIN))

    def find(self, entry: Entry, without: bool = False) -> None:
        """Find those that an entry of the journal names, as far as anything is to be done there.

        :param without: whether those below the data directory may be absent.
        :raises Absent: the directory of the restore is not on one of them.
        """
        for path in entry.paths:
            if entry.back and path not in entry.back:
                self._done.add(path)
                continue
            try:
                self._add(path, partial(_found, entry=entry, path=path))
            except (OSError, Absent) as error:
                if path == MAIN or not without:
                    raise Absent(path) from error
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
        raise Absent(path)
    return staging


def is_mounted(data: int, path: str, mounts: Collection[str]) -> bool:
    """Whether a directory is the top of a file system of its own, or of a part of one (a subvolume of Btrfs, say).

    :param data: descriptor of the data directory.
    :param mounts: where file systems are mounted.
    """
    if path in mounts:
        return True
    try:
        above = path.rpartition("/")[0] or "."
        own, other = (os.stat(each, dir_fd=data, follow_symlinks=False).st_dev for each in (path, above))
    except OSError:
        return False
    return own != other

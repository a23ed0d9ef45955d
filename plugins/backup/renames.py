"""Making and undoing the renames of a restore.

The application's user may rename, replace and remove any directory in the data at the same time. So each rename is
made between two open directories, which were entered from the data directory down without following links.
Making and undoing are idempotent, as a kill may come between any two.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.plugins.backup import narrowed_access
from jidoteki.plugins.backup.descriptors import closing, exists, is_directory
from jidoteki.plugins.backup.error_messages import about, named
from jidoteki.plugins.backup.moves import PIECES, Moves
from jidoteki.plugins.backup.plan_lines import Line, components, joined
from jidoteki.plugins.backup.staging import OLD
from jidoteki.plugins.backup.volumes import Volumes

_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Renames:
    """The renames of one restore. Old entries are moved to `OLD/NUMBER`, by the number of their line in the plan.

    :param volumes: the data directory and the new tree, by file systems; nothing is renamed on absent ones.
    :param mounts: the mount points below the data directory.
    :param bound: the paths below the data directory that are also mounted elsewhere.
    """

    def __init__(self, volumes: Volumes, mounts: Collection[str], bound: Collection[str]) -> None:
        self._data = volumes.data
        self._volumes = volumes
        self._mounts = mounts
        top = os.readlink(f"/proc/self/fd/{volumes.data}")
        self._fixed = {f"{top}/{path}/": f"{path} is mounted elsewhere, too" for path in bound}
        self._fixed |= {f"{top}/{path}/": f"another file system is mounted at {path}" for path in mounts}
        self._places = array("Q")  # inodes by the number of the line, 0 for none
        self.lost: set[str] = set()
        """The paths of the file systems on which a directory is missing to which an old entry should be restored."""

    def make(self, number: int, line: Line) -> None:
        """Make those renames of a line that were not made yet.

        :raises OSError: one failed, or led out of the data directory; as many as possible are undone.
        """
        if not line.entries:
            return
        try:
            place = self._opened(line.directory)
        except OSError as error:
            gone = error.errno in _NOT_THERE
            raise (_replaced(line.directory, error.errno) if gone else named(error, line.directory)) from error
        with closing(place), self._moves(number, line, place) as moves:
            narrowed_access.check(line, place)
            self._places.extend([0] * (number + 1 - len(self._places)))
            self._places[number] = os.fstat(place).st_ino
            try:
                for name, action in line.entries.items():
                    with about(joined(line.directory, name)):
                        moves.make(name, action)
                self._check(line.directory, place)
            except BaseException:
                moves.take_all_back(line)
                raise

    def take_back(self, number: int, line: Line) -> None:
        """Undo those renames of a line that were made.

        :raises OSError: one cannot be undone now.
        """
        if not line.entries or not exists(str(number), self._volumes.of(line.directory).old):
            return
        try:
            place = self._opened(line.directory)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            self.lost.add(self._volumes.of(line.directory).path)
            return
        with closing(place), self._moves(number, line, place) as moves:
            known = self._places[number] if number < len(self._places) else 0
            if known and known != os.fstat(place).st_ino:  # another directory is in its place
                self.lost.add(self._volumes.of(line.directory).path)
                return
            moves.take_all_back(line)

    def kept(self, number: int, line: Line) -> Iterator[tuple[str, str]]:
        """Yield the paths that could not be restored, and where they are in the data directory."""
        volume = self._volumes.of(line.directory)
        with suppress(FileNotFoundError), closing(directory_beneath(volume.old, [str(number)])) as old:
            for name in line.entries:
                for place in (name, f"{PIECES}/{name}"):
                    if exists(place, old):
                        staging = joined(volume.path, volume.staging.name)
                        yield joined(line.directory, name), f"{staging}/{OLD}/{number}/{place}"

    @contextmanager
    def _moves(self, number: int, line: Line, place: int) -> Iterator[Moves]:
        with ExitStack() as opened:
            aside = self._volumes.of(line.directory).old
            with about(line.directory), suppress(FileExistsError):
                os.mkdir(str(number), 0o700, dir_fd=aside)
            old = opened.enter_context(closing(directory_beneath(aside, [str(number)])))
            new = old
            if any(action != "remove" for action in line.entries.values()):
                new = opened.enter_context(closing(self._volumes.new(line.directory)))
            yield Moves(new, old, place, aside, line.directory, self._guard)

    def _opened(self, directory: str) -> int:
        """Open a directory in the data.

        :raises OSError: it is missing, or hidden by a new mount.
        """
        volume = self._volumes.of(directory).path
        for mount in self._mounts:
            if f"{directory}/".startswith(f"{mount}/") and len(mount) > len(volume):
                raise OSError(errno.EBUSY, f"another file system is mounted at {mount}")
        return self._volumes.place(directory)

    def _guard(self, name: str, parent: int) -> None:
        """Check that a directory can be renamed without affecting mounts.

        :raises OSError: it contains a mount point, or is mounted elsewhere.
        """
        if self._fixed and is_directory(name, parent):
            path = f"{os.readlink(f'/proc/self/fd/{parent}')}/{name}/"
            for fixed, reason in self._fixed.items():
                if fixed.startswith(path):
                    raise OSError(errno.EBUSY, reason)

    def _check(self, directory: str, descriptor: int) -> None:
        """Check that a directory is still at the path where it was opened."""
        try:
            now = directory_beneath(self._data, components(directory))
        except OSError as error:
            raise _replaced(directory, error.errno) from error
        with closing(now):
            if not os.path.sameopenfile(now, descriptor):
                raise _replaced(directory, errno.ESTALE)


def _replaced(directory: str, number: int | None) -> OSError:
    return OSError(number or errno.ESTALE, f"{directory} was replaced meanwhile")

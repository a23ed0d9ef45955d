"""The renames of a restore.

The application's user may rename, replace and remove every directory in the data meanwhile. So each rename is made
between two directories that are open, which were entered from the data directory down without following a link.
Each can be made and taken back any number of times, for a kill may come between any two.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import filling, making_room, narrowing
from jidoteki.plugins.backup.descriptors import closing, is_directory, is_filled, is_there
from jidoteki.plugins.backup.pieces import cannot_rename, move
from jidoteki.plugins.backup.plans import Action, Line, components, joined
from jidoteki.plugins.backup.reasons import about, named
from jidoteki.plugins.backup.staging import OLD
from jidoteki.plugins.backup.volumes import Volumes

PIECES: Final = f"{RESERVED}pieces"
"""Where, beside what went away, a directory is gathered that cannot be renamed, and what was written into a file."""
COMING: Final = f"{RESERVED}coming"
"""Where, beside that, a file has the name of each directory that is new and moved in pieces."""
_NOTE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Renames:
    """The renames of one restore. What goes away lies in `OLD/NUMBER`, by the number of its line in the plan.

    :param volumes: the data directory and the new tree, by file systems. Of those that are absent nothing is renamed.
    :param mounts: where other file systems are mounted below the data directory.
    :param bound: what below the data directory is mounted elsewhere, too.
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
        """The paths of the file systems where a directory is gone in which something should be put back."""

    def make(self, number: int, line: Line) -> None:
        """Make the renames of a line, or those that were not made yet.

        :raises OSError: one is impossible, or led out of the data directory; as many as possible are taken back.
        """
        if not line.entries:
            return
        try:
            place = self._opened(line.directory)
        except OSError as error:
            gone = error.errno in _NOT_THERE
            raise (_replaced(line.directory, error.errno) if gone else named(error, line.directory)) from error
        with closing(place), self._moves(number, line, place) as moves:
            narrowing.check(line, place)
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
        """Take back the renames of a line, each if it was made.

        :raises OSError: one cannot be taken back now.
        """
        if not line.entries or not is_there(str(number), self._volumes.of(line.directory).old):
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
        """What could not be put back, and where it lies in the data directory."""
        volume = self._volumes.of(line.directory)
        with suppress(FileNotFoundError), closing(directory_beneath(volume.old, [str(number)])) as old:
            for name in line.entries:
                for place in (name, f"{PIECES}/{name}"):
                    if is_there(place, old):
                        staging = joined(volume.path, volume.staging.name)
                        yield joined(line.directory, name), f"{staging}/{OLD}/{number}/{place}"

    @contextmanager
    def _moves(self, number: int, line: Line, place: int) -> Iterator[_Moves]:
        with ExitStack() as opened:
            aside = self._volumes.of(line.directory).old
            with about(line.directory), suppress(FileExistsError):
                os.mkdir(str(number), 0o700, dir_fd=aside)
            old = opened.enter_context(closing(directory_beneath(aside, [str(number)])))
            new = old
            if any(action != "remove" for action in line.entries.values()):
                new = opened.enter_context(closing(self._volumes.new(line.directory)))
            yield _Moves(new, old, place, aside, line.directory, self._guard)

    def _opened(self, directory: str) -> int:
        """Open a directory in the data.

        :raises OSError: it is not there, or hidden by what was mounted meanwhile.
        """
        volume = self._volumes.of(directory).path
        for mount in self._mounts:
            if f"{directory}/".startswith(f"{mount}/") and len(mount) > len(volume):
                raise OSError(errno.EBUSY, f"another file system is mounted at {mount}")
        return self._volumes.place(directory)

    def _guard(self, name: str, parent: int) -> None:
        """Make sure that a directory can be renamed and all that is in it is still to be seen where it was.

        :raises OSError: something is mounted in it, or it is mounted elsewhere.
        """
        if self._fixed and is_directory(name, parent):
            path = f"{os.readlink(f'/proc/self/fd/{parent}')}/{name}/"
            for fixed, reason in self._fixed.items():
                if fixed.startswith(path):
                    raise OSError(errno.EBUSY, reason)

    def _check(self, directory: str, descriptor: int) -> None:
        """Make sure that a directory is still where it was when it was opened."""
        try:
            now = directory_beneath(self._data, components(directory))
        except OSError as error:
            raise _replaced(directory, error.errno) from error
        with closing(now):
            if not os.path.sameopenfile(now, descriptor):
                raise _replaced(directory, errno.ESTALE)


class _Moves:
    """The renames between one directory in the data, its like in the new tree and the one for what goes away.

    :param aside: the directory for what nobody is to put back.
    :param guard: called before what is in the data goes away, by its name and the descriptor of its directory.
    """

    def __init__(
        self, new: int, old: int, place: int, aside: int, directory: str, guard: Callable[[str, int], None]
    ) -> None:
        self._new = new
        self._old = old
        self._place = place
        self._aside = aside
        self._directory = directory
        self._guard = guard

    def make(self, name: str, action: Action) -> None:
        """Make the two renames for an entry, or those that were not made yet."""
        coming = action != "remove"
        if coming and not is_there(name, self._new):
            return
        if action in ("fill", "write"):
            self._fill(name, action == "fill")
            return
        if not is_there(name, self._old) and not is_there(f"{COMING}/{name}", self._old):
            self._make_room(name, action)
        # Asked each time, for a kill may have come before it was.
        if action == "put" and is_filled(name, self._old):
            raise self._replaced(name)
        if coming:
            self._bring(name, action)

    def take_all_back(self, line: Line) -> None:
        """Undo what `make` did, as far as it did it, the last first."""
        for name, action in reversed(line.entries.items()):
            self._take_back(name, action)

    def _take_back(self, name: str, action: Action) -> None:
        if action in ("fill", "write"):
            self._empty(name, action == "fill")
            return
        if action != "remove":
            self._take_new(name)
        if is_there(name, self._old):
            making_room.put_back(name, self._old, self._place, self._set_aside)
        elif is_there(f"{PIECES}/{name}", self._old):
            with self._beside(PIECES) as pieces:
                move(name, pieces, self._place, self._set_aside)

    def _bring(self, name: str, action: Action) -> None:
        """Rename what is new to its place; or move it there in pieces, with a note that these are no old ones."""
        try:
            self._move(name, self._new, action)
        except OSError as error:
            if not cannot_rename(error, name, self._new):
                raise
            with self._beside(COMING) as coming:
                os.close(os.open(name, _NOTE, 0o600, dir_fd=coming))
            move(name, self._new, self._place, self._set_aside)

    def _take_new(self, name: str) -> None:
        """Rename what is new back, or what came of it."""
        if not is_there(f"{COMING}/{name}", self._old):
            if not is_there(name, self._new):
                self._guard(name, self._place)
                with suppress(FileNotFoundError):  # somebody else removed it
                    os.rename(name, name, src_dir_fd=self._place, dst_dir_fd=self._new)
            return
        if is_directory(name, self._place):
            self._guard(name, self._place)
            move(name, self._place, self._new, self._set_aside)
        os.unlink(f"{COMING}/{name}", dir_fd=self._old)

    def _fill(self, name: str, is_mounted: bool) -> None:
        """Write into a file; what was written lies with the pieces then."""
        filling.save(name, self._place, self._old)
        filling.fill(name, self._place, self._new, is_mounted)
        with self._beside(PIECES) as pieces:
            os.rename(name, name, src_dir_fd=self._new, dst_dir_fd=pieces)

    def _empty(self, name: str, is_mounted: bool) -> None:
        """Write back what was in a file."""
        if is_there(f"{PIECES}/{name}", self._old):
            with self._beside(PIECES) as pieces:
                os.rename(name, name, src_dir_fd=pieces, dst_dir_fd=self._new)
        if is_there(name, self._old):
            filling.fill(name, self._place, self._old, is_mounted, back=True)
            os.unlink(name, dir_fd=self._old)

    @contextmanager
    def _beside(self, name: str) -> Iterator[int]:
        """Open a directory of this program's own beside what went away."""
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self._old)
        with closing(directory_beneath(self._old, [name])) as descriptor:
            yield descriptor

    def _take_away(self, name: str) -> None:
        """Rename what is in the place, if anything is; or gather its pieces first, and then rename that."""
        try:
            if not is_there(f"{PIECES}/{name}", self._old):
                os.rename(name, name, src_dir_fd=self._place, dst_dir_fd=self._old)
                return
        except FileNotFoundError:
            return
        except OSError as error:
            if not cannot_rename(error, name, self._place):
                raise
        with self._beside(PIECES) as pieces:
            if is_directory(name, self._place):
                move(name, self._place, pieces, self._set_aside)
            os.rename(name, name, src_dir_fd=pieces, dst_dir_fd=self._old)

    def _make_room(self, name: str, action: Action) -> None:
        self._guard(name, self._place)
        if is_directory(name, self._place) and (action == "put" or not is_filled(name, self._place)):
            try:
                making_room.give_way(name, self._place, self._old)
                return
            except OSError as error:
                if action == "put":
                    raise self._replaced(name) if error.errno in making_room.IN_THE_WAY else error from error
        self._take_away(name)

    def _set_aside(self, name: str, parent: int) -> None:
        self._guard(name, parent)
        making_room.clear_for_old(name, parent, self._aside)

    def _move(self, name: str, source: int, action: Action) -> None:
        """Rename something new to its place, which is free: what another program made there goes the way of the old."""
        try:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=self._place)
        except OSError as error:
            if error.errno not in making_room.IN_THE_WAY:
                raise
            self._guard(name, self._place)
            try:
                making_room.clear(name, self._place, self._aside, all_of_it=action == "replace")
            except OSError as filled:
                raise self._replaced(name) from filled
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=self._place)

    def _replaced(self, name: str) -> OSError:
        return OSError(errno.ENOTEMPTY, f"{joined(self._directory, name)} was replaced meanwhile")


def _replaced(directory: str, number: int | None) -> OSError:
    return OSError(number or errno.ESTALE, f"{directory} was replaced meanwhile")

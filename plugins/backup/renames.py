"""The renames of a restore.

The application's user may rename, replace and remove every directory in the data meanwhile. So each rename is made
between two directories that are open, which were entered from the data directory down without following a link.
Each can be made and taken back any number of times, for a kill may come between any two.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import filling, making_room, narrowing
from jidoteki.plugins.backup.descriptors import closing, is_directory, is_empty, is_there
from jidoteki.plugins.backup.pieces import cannot_rename, move
from jidoteki.plugins.backup.plans import Action, Line, components, joined
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
    """

    def __init__(self, volumes: Volumes, mounts: Collection[str] = ()) -> None:
        self._data = volumes.data
        self._volumes = volumes
        self._mounts = mounts
        self._places = array("Q")  # inodes by the number of the line, 0 for none
        self.lost = False
        """Whether a directory is not there any more in which something should be put back."""

    def make(self, number: int, line: Line) -> None:
        """Make the renames of a line, or those that were not made yet.

        :raises OSError: one is impossible, or led out of the data directory; as many as possible are taken back.
        """
        if not line.entries:
            return
        self._check_mounts(line)
        with suppress(FileExistsError):
            os.mkdir(str(number), 0o700, dir_fd=self._volumes.of(line.directory).old)
        try:
            place = directory_beneath(self._data, components(line.directory))
        except OSError as error:
            raise _replaced(line.directory, error.errno) if error.errno in _NOT_THERE else error from error
        with closing(place), self._moves(number, line, place) as moves:
            narrowing.check(line, place)
            self._places.extend([0] * (number + 1 - len(self._places)))
            self._places[number] = os.fstat(place).st_ino
            try:
                for name, action in line.entries.items():
                    moves.make(name, action)
                self._check(line.directory, place)
            except BaseException:
                for name, action in line.entries.items():
                    moves.take_back(name, action)
                raise

    def take_back(self, number: int, line: Line) -> None:
        """Take back the renames of a line, each if it was made.

        :raises OSError: one cannot be taken back now.
        """
        if not line.entries or not is_there(str(number), self._volumes.of(line.directory).old):
            return
        try:
            place = directory_beneath(self._data, components(line.directory))
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            self.lost = True
            return
        with closing(place), self._moves(number, line, place) as moves:
            known = self._places[number] if number < len(self._places) else 0
            if known and known != os.fstat(place).st_ino:  # another directory is in its place
                self.lost = True
                return
            for name, action in line.entries.items():
                moves.take_back(name, action)

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
            old = opened.enter_context(closing(directory_beneath(aside, [str(number)])))
            new = old
            if any(action != "remove" for action in line.entries.values()):
                new = opened.enter_context(closing(self._volumes.new(line.directory)))
            yield _Moves(new, old, place, aside, line.directory)

    def _check_mounts(self, line: Line) -> None:
        """Make sure that nothing has been mounted meanwhile below what is to go away."""
        for name, action in line.entries.items():
            path = joined(line.directory, name)
            if action in ("replace", "remove") and any(f"{mount}/".startswith(f"{path}/") for mount in self._mounts):
                raise OSError(errno.EBUSY, f"another file system is mounted in {path}")

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
    """

    def __init__(self, new: int, old: int, place: int, aside: int, directory: str) -> None:
        self._new = new
        self._old = old
        self._place = place
        self._aside = aside
        self._directory = directory

    def make(self, name: str, action: Action) -> None:
        """Make the two renames for an entry, or those that were not made yet."""
        coming = action != "remove"
        if coming and not is_there(name, self._new):
            return
        if action == "fill":
            self._fill(name)
            return
        if not is_there(name, self._old) and not is_there(f"{COMING}/{name}", self._old):
            self._make_room(name, action)
        # Asked each time, for a kill may have come before it was.
        if action == "put" and _is_filled_directory(name, self._old):
            raise self._replaced(name)
        if coming:
            self._bring(name, action)

    def take_back(self, name: str, action: Action) -> None:
        """Undo what `make` did, as far as it did it."""
        if action == "fill":
            self._empty(name)
            return
        if action != "remove":
            self._take_new(name)
        if is_there(name, self._old):
            making_room.put_back(name, self._old, self._place, self._aside)
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
                with suppress(FileNotFoundError):  # somebody else removed it
                    os.rename(name, name, src_dir_fd=self._place, dst_dir_fd=self._new)
            return
        if is_directory(name, self._place):
            move(name, self._place, self._new, self._set_aside)
        os.unlink(f"{COMING}/{name}", dir_fd=self._old)

    def _fill(self, name: str) -> None:
        """Write into a file; what was written lies with the pieces then."""
        filling.save(name, self._place, self._old)
        filling.fill(name, self._place, self._new)
        with self._beside(PIECES) as pieces:
            os.rename(name, name, src_dir_fd=self._new, dst_dir_fd=pieces)

    def _empty(self, name: str) -> None:
        """Write back what was in a file."""
        if is_there(f"{PIECES}/{name}", self._old):
            with self._beside(PIECES) as pieces:
                os.rename(name, name, src_dir_fd=pieces, dst_dir_fd=self._new)
        if is_there(name, self._old):
            filling.fill(name, self._place, self._old, back=True)
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
        if is_directory(name, self._place) and (action == "put" or not _is_filled_directory(name, self._place)):
            try:
                making_room.give_way(name, self._place, self._old)
                return
            except OSError as error:
                if action == "put":
                    raise self._replaced(name) if error.errno in making_room.IN_THE_WAY else error from error
        self._take_away(name)

    def _set_aside(self, name: str, parent: int) -> None:
        making_room.clear_for_old(name, parent, self._aside)

    def _move(self, name: str, source: int, action: Action) -> None:
        """Rename something new to its place, which is free: what another program made there goes the way of the old."""
        try:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=self._place)
        except OSError as error:
            if error.errno not in making_room.IN_THE_WAY:
                raise
            try:
                making_room.clear(name, self._place, self._aside, all_of_it=action == "replace")
            except OSError as filled:
                raise self._replaced(name) from filled
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=self._place)

    def _replaced(self, name: str) -> OSError:
        return OSError(errno.ENOTEMPTY, f"{joined(self._directory, name)} was replaced meanwhile")


def _replaced(directory: str, number: int | None) -> OSError:
    return OSError(number or errno.ESTALE, f"{directory} was replaced meanwhile")


def _is_filled_directory(name: str, parent: int) -> bool:
    if not is_directory(name, parent):
        return False
    with closing(directory_beneath(parent, [name])) as inner:
        return not is_empty(inner)

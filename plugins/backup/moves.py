"""The renames between one directory in the data, its like in the new tree and the one for what goes away.

Each can be made and taken back any number of times, for a kill may come between any two.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import filling, making_room
from jidoteki.plugins.backup.descriptors import closing, is_directory, is_filled, is_there
from jidoteki.plugins.backup.pieces import cannot_rename, move
from jidoteki.plugins.backup.plans import Action, Line, joined

PIECES: Final = f"{RESERVED}pieces"
"""Where, beside what went away, a directory is gathered that cannot be renamed, and what was written into a file."""
COMING: Final = f"{RESERVED}coming"
"""Where, beside that, a file has the name of each directory that is new and moved in pieces."""
_NOTE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Moves:
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

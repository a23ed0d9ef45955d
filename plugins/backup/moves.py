"""The renames between one directory in the data, its counterpart in the new tree and the one for old entries.

Making and undoing are idempotent, as a kill may come between any two.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import clearing, mount_point_files
from jidoteki.plugins.backup.descriptors import closing, exists, is_directory, is_filled
from jidoteki.plugins.backup.directory_moves import cannot_rename, move
from jidoteki.plugins.backup.plan_lines import Action, Line, joined

PIECES: Final = f"{RESERVED}pieces"
"""The directory, beside old entries, for a directory that is moved in pieces, and for the source of a filled file."""
COMING: Final = f"{RESERVED}coming"
"""The directory, beside that, with a marker file for each new directory that is moved in pieces."""
_NOTE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Moves:
    """The renames between one directory in the data, its counterpart in the new tree and the one for old entries.

    :param aside: the directory for entries that are never restored.
    :param guard: called before an entry of the data is renamed, with its name and the descriptor of its directory.
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
        """Make those of the two renames for an entry that were not made yet."""
        coming = action != "remove"
        if coming and not exists(name, self._new):
            return
        if action in ("fill", "write"):
            self._fill(name, action == "fill")
            return
        if not exists(name, self._old) and not exists(f"{COMING}/{name}", self._old):
            self._make_room(name, action)
        # Checked each time, as a kill may have prevented it.
        if action == "put" and is_filled(name, self._old):
            raise self._replaced(name)
        if coming:
            self._bring(name, action)

    def take_all_back(self, line: Line) -> None:
        """Undo the renames that `make` made, the last first."""
        for name, action in reversed(line.entries.items()):
            self._take_back(name, action)

    def _take_back(self, name: str, action: Action) -> None:
        if action in ("fill", "write"):
            self._empty(name, action == "fill")
            return
        if action != "remove":
            self._take_new(name)
        if exists(name, self._old):
            clearing.put_back(name, self._old, self._place, self._set_aside)
        elif exists(f"{PIECES}/{name}", self._old):
            with self._beside(PIECES) as pieces:
                move(name, pieces, self._place, self._set_aside)

    def _bring(self, name: str, action: Action) -> None:
        """Rename a new entry to its path; or move it in pieces, with a marker that these are not old ones."""
        try:
            self._move(name, self._new, action)
        except OSError as error:
            if not cannot_rename(error, name, self._new):
                raise
            with self._beside(COMING) as coming:
                os.close(os.open(name, _NOTE, 0o600, dir_fd=coming))
            move(name, self._new, self._place, self._set_aside)

    def _take_new(self, name: str) -> None:
        """Rename a new entry, or the pieces of it, back."""
        if not exists(f"{COMING}/{name}", self._old):
            if not exists(name, self._new):
                self._guard(name, self._place)
                with suppress(FileNotFoundError):  # somebody else removed it
                    os.rename(name, name, src_dir_fd=self._place, dst_dir_fd=self._new)
            return
        if is_directory(name, self._place):
            self._guard(name, self._place)
            move(name, self._place, self._new, self._set_aside)
        os.unlink(f"{COMING}/{name}", dir_fd=self._old)

    def _fill(self, name: str, is_mounted: bool) -> None:
        """Write into a file, and move the source of its content to the pieces."""
        mount_point_files.save(name, self._place, self._old)
        mount_point_files.fill(name, self._place, self._new, is_mounted)
        with self._beside(PIECES) as pieces:
            os.rename(name, name, src_dir_fd=self._new, dst_dir_fd=pieces)

    def _empty(self, name: str, is_mounted: bool) -> None:
        """Write the old content back into a file."""
        if exists(f"{PIECES}/{name}", self._old):
            with self._beside(PIECES) as pieces:
                os.rename(name, name, src_dir_fd=pieces, dst_dir_fd=self._new)
        if exists(name, self._old):
            mount_point_files.fill(name, self._place, self._old, is_mounted, back=True)
            os.unlink(name, dir_fd=self._old)

    @contextmanager
    def _beside(self, name: str) -> Iterator[int]:
        """Open a directory of the program beside the old entries."""
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self._old)
        with closing(directory_beneath(self._old, [name])) as descriptor:
            yield descriptor

    def _take_away(self, name: str) -> None:
        """Rename an existing entry away, in pieces if need be."""
        try:
            if not exists(f"{PIECES}/{name}", self._old):
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
                clearing.give_way(name, self._place, self._old)
                return
            except OSError as error:
                if action == "put":
                    raise self._replaced(name) if error.errno in clearing.IN_THE_WAY else error from error
        self._take_away(name)

    def _set_aside(self, name: str, parent: int) -> None:
        self._guard(name, parent)
        clearing.clear_for_old(name, parent, self._aside)

    def _move(self, name: str, source: int, action: Action) -> None:
        """Rename a new entry to its cleared path; an entry that another program created there is cleared, too."""
        try:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=self._place)
        except OSError as error:
            if error.errno not in clearing.IN_THE_WAY:
                raise
            self._guard(name, self._place)
            try:
                clearing.clear(name, self._place, self._aside, all_of_it=action == "replace")
            except OSError as filled:
                raise self._replaced(name) from filled
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=self._place)

    def _replaced(self, name: str) -> OSError:
        return OSError(errno.ENOTEMPTY, f"{joined(self._directory, name)} was replaced meanwhile")

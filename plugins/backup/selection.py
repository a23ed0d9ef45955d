"""The content of a backup: the paths that `backup.txt` lists, and all below them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from jidoteki.hookspecs import Appliance, JobError
from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.hookspecs.restorable import MAX_DEPTH, is_reserved
from jidoteki.plugins.backup import believing
from jidoteki.plugins.backup.backup_list import EVERYTHING, selection
from jidoteki.plugins.backup.matching import below_a_link, find, outermost, parents

if TYPE_CHECKING:
    _Entries = os._ScandirIterator[str]

__all__ = ["CHANGED", "EVERYTHING", "Files", "Note", "Other", "Tree", "selected"]

BATCH: Final = 256
CHANGED: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
"""The errors on entries that another program has removed or replaced."""


class Note(Protocol):
    """A receiver of messages about entries that are not packed as they are."""

    def __call__(self, text: str) -> None:
        """Receive a line for the log."""

    def lost(self, name: str, reason: str) -> None:
        """Record a path that belongs to the backup, but cannot be packed.

        :param name: its path below the data directory.
        :param reason: such as "it is a block device".
        """

    def listing(self) -> bytes:
        """Return the list of all lost paths, for the archive (see `left_out`); empty if there are none."""


def selected(appliance: Appliance) -> list[str]:
    """Return the paths in `backup.txt`, existing or not, and the matches of its patterns, without nested ones.

    :raises JobError: as `selection`; or a pattern has a symbolic link as a directory.
    """
    words = selection(appliance).words
    patterns = find([word for word in words if word.is_pattern], appliance.data).names
    return outermost({*patterns, *(word.path for word in words if not word.is_pattern)})


class Files(NamedTuple):
    """A batch of regular files of one directory, as handling each by itself would cost more than its content."""

    prefix: str
    """The path of their directory below the data directory, with a slash at the end unless it is empty."""
    parent: int
    """A descriptor of their directory, open until the next item is requested."""
    names: list[str]
    within: bool = False
    """Whether the service's user may have put them there: see `believing`."""


class Other(NamedTuple):
    """A directory, a symbolic link or any other file that is not regular."""

    name: str
    """Its path below the data directory."""
    parent: int
    """A descriptor of its parent, open until the next item is requested."""
    base: str
    """Its name in its parent."""
    within: bool = False
    """Whether the service's user may have put it there."""


class Tree:
    """An iterable of all entries at and below the selected paths, each directory before its content.

    Directories are opened one by one from the data directory down, so that no symbolic link is followed, not even one
    that replaces a directory at the same time. The parents of a selected path are included without their content:
    where they are missing, a restore creates them as they were.

    :param names: paths, none of which is below another one.
    :param note: receives messages about entries that vanished or cannot be read.
    """

    def __init__(self, data: Path, names: Sequence[str], note: Note) -> None:
        self.data = data
        self._names = names
        self._note = note
        self._skip = False

    def skip(self) -> None:
        """Leave out the content of the last directory."""
        self._skip = True

    def __iter__(self) -> Iterator[Files | Other]:
        """Yield the entries.

        :raises JobError: a selected path is below a symbolic link.
        """
        given: set[str] = set()
        with ExitStack() as opened:
            try:
                data = os.open(self.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                self._note.lost(EVERYTHING, f"the data directory cannot be read: {error.strerror}")
                return
            opened.callback(os.close, data)
            for name in self._names:
                within = believing.within(data)
                if name == EVERYTHING:
                    yield from self._below("", os.dup(data), within)
                else:
                    yield from self._selected(name, data, within, given)

    def _selected(self, name: str, directory: int, within: bool, given: set[str]) -> Iterator[Files | Other]:
        """Yield the parents of a selected path, unless they were yielded before, and the path with its content."""
        with ExitStack() as opened:
            for parent in parents(name):
                base = parent.rpartition("/")[2]
                inner = self._open(base, directory, parent, within)
                if inner is None:
                    return
                opened.callback(os.close, inner)
                if parent not in given:
                    given.add(parent)
                    yield Other(parent, directory, base, within)
                directory, within = inner, believing.within(inner, within)
            yield from self._last(name, directory, within)

    def _open(self, base: str, parent: int, name: str, within: bool) -> int | None:
        """Open a directory above a selected path."""
        try:
            with believing.reading(within):
                return os.open(base, DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno == errno.ENOTDIR and stat.S_ISLNK(_mode(base, parent)):
                raise JobError(below_a_link(name)) from error
            self._unread(name, error)
            return None

    def _last(self, name: str, parent: int, within: bool) -> Iterator[Files | Other]:
        base = name.rpartition("/")[2]
        try:
            mode = _mode(base, parent)
        except OSError as error:
            self._unread(name, error)
            return
        if stat.S_ISREG(mode):
            yield Files(name.removesuffix(base), parent, [base], within)
            return
        self._skip = False
        yield Other(name, parent, base, within)
        if stat.S_ISDIR(mode) and not self._skip:
            inner = self._enter(name, base, parent, within)
            if inner is not None:
                yield from self._below(f"{name}/", inner, believing.within(inner, within))

    def _below(self, prefix: str, descriptor: int, within: bool) -> Iterator[Files | Other]:
        """Yield the content of a directory in the file system's order, as tar does, and close its descriptor."""
        stack = [_Level(prefix, descriptor, os.scandir(descriptor), within)]
        try:
            while stack:
                level = stack[-1]
                inner = yield from self._content(level, len(stack) <= MAX_DEPTH)
                if inner:
                    stack.append(inner)
                else:
                    stack.pop().close()
        finally:
            for level in stack:
                level.close()

    def _content(self, level: _Level, descend: bool) -> Generator[Files | Other, None, _Level | None]:
        """Yield the rest of a directory's entries, up to a subdirectory, which is returned to be read next."""
        prefix, descriptor, entries, within = level
        names: list[str] = []
        for entry in entries:
            if is_reserved(entry.name):
                self._note(f"{prefix}{entry.name} is left out: its name is the program's own")
                continue
            is_file = entry.is_file(follow_symlinks=False)
            if is_file:
                names.append(entry.name)
                if len(names) < BATCH:
                    continue
            if names:
                yield Files(prefix, descriptor, names, within)
                names = []
            if is_file:
                continue
            self._skip = False
            yield Other(prefix + entry.name, descriptor, entry.name, within)
            if descend and not self._skip and entry.is_dir(follow_symlinks=False):
                inner = self._enter(prefix + entry.name, entry.name, descriptor, within)
                if inner is not None:
                    return _Level(f"{prefix}{entry.name}/", inner, os.scandir(inner), believing.within(inner, within))
        if names:
            yield Files(prefix, descriptor, names, within)
        return None

    def _enter(self, name: str, base: str, parent: int, within: bool) -> int | None:
        try:
            with believing.reading(within):
                return os.open(base, DIRECTORY, dir_fd=parent)
        except OSError as error:
            self._unread(name, error)
            return None

    def _unread(self, name: str, error: OSError) -> None:
        """Report an entry that cannot be read; one that was removed or replaced is not lost."""
        if error.errno in CHANGED:
            self._note(f"{name} cannot be read: {error.strerror}")
        else:
            self._note.lost(name, f"it cannot be read: {error.strerror}")


class _Level(NamedTuple):
    """A directory that is being read."""

    prefix: str
    descriptor: int
    entries: _Entries
    within: bool

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


def _mode(base: str, parent: int) -> int:
    return os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode

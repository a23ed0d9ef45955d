"""Finding the paths that match the words of `backup.txt`."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import JobError
from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.hookspecs.restorable import is_reserved
from jidoteki.plugins.backup.backup_list import EVERYTHING, Word, is_pattern, matches

MAX_MATCHES: Final = 100_000
"""The most matches of all patterns together; more than a command line of a shell can hold."""


@dataclass(slots=True)
class Matches:
    """The result of a search for words."""

    names: list[str] = field(default_factory=list)
    """The paths below the data directory, without those that are below another one."""
    missing: list[str] = field(default_factory=list)
    """The words without a match."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Paths that a pattern cannot be followed through, and why."""


def find(words: Iterable[Word], data: Path) -> Matches:
    """Find the paths in the data directory that words match, without following symbolic links.

    :raises JobError: a word has a symbolic link as a directory, or patterns match too much.
    """
    found, paths = Matches(), set[str]()
    try:
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        found.missing = [word.text for word in words]
        return found
    try:
        finder = _Finder(descriptor, found.blocked)
        for word in words:
            before = len(found.blocked)
            there = list(islice(finder.paths(word), MAX_MATCHES + 1))
            paths.update(there)
            if not there and len(found.blocked) == before:
                found.missing.append(word.text)
            if len(paths) > MAX_MATCHES:
                raise JobError(f"{word.text} in backup.txt matches too much: list the directory instead")
    finally:
        os.close(descriptor)
    found.names = outermost(paths)
    return found


def outermost(paths: set[str]) -> list[str]:
    """Return the sorted paths, without those that are below another one."""
    if EVERYTHING in paths:
        return [EVERYTHING]
    return sorted(path for path in paths if not any(parent in paths for parent in parents(path)))


def parents(path: str) -> list[str]:
    """Return the parents of a path, the outermost first."""
    components = path.split("/")
    return ["/".join(components[:depth]) for depth in range(1, len(components))]


class _Finder:
    def __init__(self, data: int, blocked: dict[str, str]) -> None:
        self._data = data
        self._blocked = blocked

    def paths(self, word: Word) -> Iterator[str]:
        """Yield the paths that a word matches."""
        if not word.components:
            with os.scandir(self._data) as entries:
                if any(not is_reserved(entry.name) for entry in entries):
                    yield EVERYTHING
            return
        found = False
        for path in self._expand(word, self._data, (), word.is_pattern):
            found = True
            yield path
        if not found and word.is_pattern:
            yield from self._expand(word, self._data, (), False)

    def _expand(self, word: Word, directory: int, above: Sequence[str], patterns: bool) -> Iterator[str]:
        component = word.components[len(above)]
        for name in self._names(directory, above, component, patterns):
            path = (*above, name)
            if len(path) == len(word.components):
                if not word.is_directory or stat.S_ISDIR(_mode(name, directory)):
                    yield "/".join(path)
                continue
            inner = self._enter(name, directory, path, patterns and is_pattern(component))
            if inner is not None:
                try:
                    yield from self._expand(word, inner, path, patterns)
                finally:
                    os.close(inner)

    def _names(self, directory: int, above: Sequence[str], component: str, patterns: bool) -> Iterator[str]:
        if not (patterns and is_pattern(component)):
            if self._is_there(component, directory, above):
                yield component
            return
        with os.scandir(directory) as entries, closing(entries):
            for entry in entries:
                if matches(entry.name, component) and not is_reserved(entry.name):
                    yield entry.name

    def _is_there(self, name: str, directory: int, above: Sequence[str]) -> bool:
        try:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        except PermissionError as error:
            self._blocked["/".join((*above, name))] = error.strerror or str(error)
        except OSError:
            pass
        else:
            return True
        return False

    def _enter(self, name: str, parent: int, path: Sequence[str], by_pattern: bool) -> int | None:
        """Open a directory above a listed path; return None if it cannot be entered."""
        try:
            return os.open(name, DIRECTORY, dir_fd=parent)
        except OSError as error:
            shown = "/".join(path)
            if stat.S_ISLNK(_mode(name, parent)):
                if not _leads_to_directory(name, parent):
                    return None
                if not by_pattern:
                    raise JobError(below_a_link(shown)) from error
                self._blocked[shown] = "it is a symbolic link, and backup.txt lists what lies below"
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._blocked[shown] = error.strerror or str(error)
            return None


def below_a_link(link: str) -> str:
    """Return the error for a listed path below a symbolic link."""
    return f"backup.txt lists a path below {link}, which is a symbolic link: list what it leads to instead"


def _mode(name: str, parent: int) -> int:
    """Return the type and mode of an entry; 0 if it is missing."""
    with suppress(OSError):
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    return 0


def _leads_to_directory(name: str, parent: int) -> bool:
    with suppress(OSError):
        return stat.S_ISDIR(os.stat(name, dir_fd=parent).st_mode)
    return False

"""Which log files there are, each opened on the way to it and never by its path: others may write along that way.

A symbolic link is followed only in a directory where nobody but root and the service's user can have put it, as vendors
do to keep logs elsewhere; nowhere below a directory that is packed as a whole.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from jidoteki.hookspecs import paths

MAX_ENTRIES = 500_000
MAX_DEPTH = 64
MAX_PATTERN = 4096
MAX_TOLD = 100


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file that is open for reading, until the next one is asked for."""

    path: str
    file: IO[bytes]
    status: os.stat_result


@dataclass(slots=True)
class Finder:
    """Finds log files.

    :param tell: told of what is left out, and why.
    """

    tell: Callable[[str], None]
    _left: int = field(default=MAX_ENTRIES, init=False)

    def below(self, path: str) -> Iterator[LogFile]:
        """The file at an absolute path, or all those below the directory there."""
        yield from self._found(path, None, path)

    def matching(self, root: str, pattern: str) -> Iterator[LogFile]:
        """The files that a shell pattern matches, and those below the directories that it matches.

        :param root: absolute; it is no pattern.
        :param pattern: as for `glob`; it begins at the root.
        """
        if len(pattern) > MAX_PATTERN or "\0" in pattern:
            self.tell(f"{pattern[:MAX_TOLD]} cannot be a path")
            return
        components = [each for each in pattern.split("/") if each not in ("", ".")]
        missing = True
        try:
            with paths.directory(root) as directory:
                for parent, name, path in self._expand(directory, root.rstrip("/"), components):
                    missing = False
                    yield from self._found(name, parent, path)
        except OSError as error:
            self._leave_out(root, error)
        if missing:
            self.tell(f"{pattern} is missing")

    def _expand(self, directory: int, at: str, components: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        """The matches of a pattern: the directory that each is in, its name there, and its path."""
        for name in self._names(directory, at, components[0]) if components else ():
            path = f"{at}/{name}"
            if len(components) == 1:
                yield directory, name, path
                continue
            try:
                with paths.directory(name, dir_fd=directory) as inner:
                    yield from self._expand(inner, path, components[1:])
            except OSError as error:
                # What is a file here is no match, and only a link would have been one.
                if not isinstance(error, NotADirectoryError) or _is_link(name, directory):
                    self._leave_out(path, error)

    def _names(self, directory: int, at: str, component: str) -> list[str]:
        """Which names in a directory one component of a pattern means."""
        if not glob.has_magic(component):
            try:
                os.stat(component, dir_fd=directory, follow_symlinks=False)
            except OSError:
                return []
            return [component]
        hidden = component.startswith(".")
        names = [entry.name for entry in self._entries(directory, at)]
        return [each for each in names if fnmatch.fnmatchcase(each, component) and (hidden or not each.startswith("."))]

    def _entries(self, directory: int, at: str) -> list[os.DirEntry[str]]:
        found = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if self._left <= 0:
                    self.tell(f"{at} holds too much: the rest is left out")
                    break
                self._left -= 1
                found.append(entry)
        return sorted(found, key=lambda entry: entry.name)

    def _found(self, name: str, directory: int | None, path: str) -> Iterator[LogFile]:
        """What is there: a file, or a directory with all below it."""
        try:
            with paths.resolved(name, dir_fd=directory) as (parent, leaf):
                if stat.S_ISDIR(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode):
                    yield from self._below(leaf, parent, path, MAX_DEPTH)
                else:
                    yield from self._file(leaf, parent, path)
        except OSError as error:
            self._leave_out(path, error)

    def _below(self, name: str, parent: int, path: str, depth: int) -> Iterator[LogFile]:
        """The files below a directory, through no links at all."""
        if not depth:
            self.tell(f"{path} is left out: it is too deep")
            return
        descriptor = os.open(name, paths.DIRECTORY, dir_fd=parent)
        try:
            entries = self._entries(descriptor, path)
            inner = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
            for each in entries:
                if not each.is_dir(follow_symlinks=False):
                    yield from self._file(each.name, descriptor, f"{path}/{each.name}")
            for each_inner in inner:
                try:
                    yield from self._below(each_inner, descriptor, f"{path}/{each_inner}", depth - 1)
                except OSError as error:
                    self._leave_out(f"{path}/{each_inner}", error)
        finally:
            os.close(descriptor)

    def _file(self, name: str, parent: int, path: str) -> Iterator[LogFile]:
        try:
            descriptor = paths.open_regular(name, dir_fd=parent)
        except OSError as error:
            self._leave_out(path, error)
            return
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if _is_somebody_elses(status, os.fstat(parent)):
                self.tell(f"{path} is left out: it is a second name of a file, which somebody else may have given it")
            else:
                yield LogFile(path, file, status)

    def _leave_out(self, path: str, error: OSError) -> None:
        self.tell(f"{path} is left out: {error.strerror or error}")


def _is_link(name: str, directory: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


def _is_somebody_elses(status: os.stat_result, directory: os.stat_result) -> bool:
    """Whether a file may be one that its directory's user cannot read, and gave a second name (`link(2)`)."""
    if status.st_nlink < 2 or paths.is_private(directory):
        return False
    return status.st_uid != directory.st_uid or bool(directory.st_mode & 0o022)

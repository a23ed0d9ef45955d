"""Finding log files, which are opened relative to open directories, as other users may write on their path.

A symbolic link is followed only in a directory that nobody but root and the service's user can write, where vendors put
links to logs elsewhere; and never below a directory that is packed as a whole.
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
    """A log file, open until the next one is requested."""

    path: str
    file: IO[bytes]
    status: os.stat_result


@dataclass(slots=True)
class Finder:
    """A finder of log files.

    :param tell: called with a message for each file that is left out.
    """

    tell: Callable[[str], None]
    _left: int = field(default=MAX_ENTRIES, init=False)

    def below(self, path: str) -> Iterator[LogFile]:
        """Yield the file at an absolute path, or all files below the directory there."""
        yield from self._found(path, None, path)

    def matching(self, root: str, pattern: str) -> Iterator[LogFile]:
        """Yield the files that match a shell pattern, and those below matching directories.

        :param root: an absolute path, not a pattern.
        :param pattern: as for `glob`; relative to the root.
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
        """Yield the matches of a pattern: the parent's descriptor, the name in it, and the path."""
        for name in self._names(directory, at, components[0]) if components else ():
            path = f"{at}/{name}"
            if len(components) == 1:
                yield directory, name, path
                continue
            try:
                with paths.directory(name, dir_fd=directory) as inner:
                    yield from self._expand(inner, path, components[1:])
            except OSError as error:
                # A file here is not a match; only a link might have been one.
                if not isinstance(error, NotADirectoryError) or _is_link(name, directory):
                    self._leave_out(path, error)

    def _names(self, directory: int, at: str, component: str) -> list[str]:
        """Return the names in a directory that match one component of a pattern."""
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
        """Yield a file, or all files below a directory."""
        try:
            with paths.resolved(name, dir_fd=directory) as (parent, leaf):
                if stat.S_ISDIR(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode):
                    yield from self._below(leaf, parent, path, MAX_DEPTH)
                else:
                    yield from self._file(leaf, parent, path)
        except OSError as error:
            self._leave_out(path, error)

    def _below(self, name: str, parent: int, path: str, depth: int) -> Iterator[LogFile]:
        """Yield the files below a directory, without following links."""
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
            if _is_foreign(status, os.fstat(parent)):
                self.tell(f"{path} is left out: it is a second name of a file, which somebody else may have given it")
            else:
                yield LogFile(path, file, status)

    def _leave_out(self, path: str, error: OSError) -> None:
        self.tell(f"{path} is left out: {error.strerror or error}")


def _is_link(name: str, directory: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


def _is_foreign(status: os.stat_result, directory: os.stat_result) -> bool:
    """Return whether a file may be a hard link by a user who cannot read it (`link(2)`)."""
    if status.st_nlink < 2 or paths.is_private(directory):
        return False
    return status.st_uid != directory.st_uid or bool(directory.st_mode & 0o022)

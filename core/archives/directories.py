"""The directories that an archive is unpacked into, each opened relative to its parent, without following links."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from jidoteki.hookspecs.paths import DIRECTORY, directory_beneath
from jidoteki.hookspecs.restorable import IMPLIED

Elsewhere = Callable[[str], int | None]
"""Returns the descriptor of another directory to receive the content of a directory of the archive, or None for the
default. The descriptor stays open."""


class _Entered(NamedTuple):
    name: str
    descriptor: int
    top: int


class Directories:
    """The unpacked directory tree; the directories on the path to the last entered one are open.

    :param root: descriptor of its top, which `close` closes.
    :param mark: whether a created directory has the bit `IMPLIED` until its own member is unpacked.
    :param elsewhere: called once for each created directory.
    """

    def __init__(self, root: int, mark: bool, elsewhere: Elsewhere) -> None:
        self.root = root
        self._mark = mark
        self._ask = elsewhere
        self._elsewhere: dict[str, int] = {}
        self._open: list[_Entered] = []

    @property
    def top(self) -> int:
        """Descriptor of the root, or of the other directory of `elsewhere`, that the last entered one is in."""
        return self._open[-1].top if self._open else self.root

    def enter(self, names: list[str]) -> int:
        """Return the descriptor of a directory, open until the next call; a missing one is created."""
        common = 0
        for entered, wanted in zip(self._open, names, strict=False):
            if entered.name != wanted:
                break
            common += 1
        self._leave(common)
        for depth in range(common, len(names)):
            self._open.append(self._entered(names[: depth + 1]))
        return self._open[-1].descriptor if self._open else self.root

    def beneath(self, names: list[str]) -> int:
        """Open an existing directory and return its descriptor.

        :raises OSError: it does not exist.
        """
        for depth in range(len(names), 0, -1):
            top = self._elsewhere.get("/".join(names[:depth])) if self._elsewhere else None
            if top is not None:
                return directory_beneath(top, names[depth:])
        return directory_beneath(self.root, names)

    def close(self) -> None:
        """Close all descriptors."""
        self._leave(0)
        os.close(self.root)

    def _entered(self, names: list[str]) -> _Entered:
        parent = self._open[-1].descriptor if self._open else self.root
        name = names[-1]
        try:
            descriptor = os.open(name, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            descriptor = self._made(name, parent)
            place = self._ask("/".join(names))
            if place is not None:
                self._elsewhere["/".join(names)] = place
                self._imply(place)
        place = self._elsewhere.get("/".join(names)) if self._elsewhere else None
        if place is None:
            return _Entered(name, descriptor, self.top)
        os.close(descriptor)
        return _Entered(name, os.dup(place), place)

    def _made(self, name: str, parent: int) -> int:
        os.mkdir(name, 0o700, dir_fd=parent)
        descriptor = os.open(name, DIRECTORY, dir_fd=parent)
        self._imply(descriptor)
        return descriptor

    def _imply(self, descriptor: int) -> None:
        if self._mark:
            with suppress(PermissionError):  # on a file system without modes
                os.fchmod(descriptor, IMPLIED | 0o700)

    def _leave(self, depth: int) -> None:
        """Close the directories deeper than `depth`."""
        while len(self._open) > depth:
            os.close(self._open.pop().descriptor)

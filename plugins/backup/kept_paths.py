"""Paths that a restore keeps although the archive lacks them: those in its list of missing ones, and mount points."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

MAX_ABOVE: Final = 16 * 1024 * 1024
"""The most characters of all parents of kept paths."""


class Kept:
    """Paths that a restore does not remove, with all below them, although the archive lacks them.

    :param left_out: the paths that the archive lists as missing.
    :param mounts: the mount points of other file systems.
    :param bound: bind-mounted paths, and where else they are mounted. What has two places in the data counts as mounted
        in both; of what is mounted outside, the directory is kept, but not its content.
    """

    def __init__(self, left_out: Collection[str], mounts: Collection[str], bound: Mapping[str, Sequence[str]]) -> None:
        self.mounts: Final = frozenset(mounts)
        self.bound: Final = bound
        self._twins: dict[str, list[str]] = {}
        for path, places in bound.items():
            for place in self.mounts.intersection(places):
                self._twins.setdefault(place, []).append(path)
        self._paths = self.mounts.union(left_out, *self._twins.values())
        self._above: set[str] = set()
        room = MAX_ABOVE
        for path in self._paths.union(bound):
            self._above.update(at_and_above(path))
            room -= len(path) * (path.count("/") + 1) // 2
            if room < 0:  # too many to remember them all: then nothing is removed at all
                self._paths, self._above = self.mounts | {""}, {""}
                break

    def at(self, path: str) -> bool:
        """Return whether a path is one of these."""
        return path in self._paths

    def below(self, path: str) -> bool:
        """Return whether a path is one of these, or below one."""
        return any(map(self.at, at_and_above(path)))

    def within(self, path: str) -> bool:
        """Return whether a path is one of these, or above one."""
        return path in self._above

    def twins(self, path: str) -> list[str]:
        """Return the other paths in the data at which the same directory or file is mounted."""
        return self._twins.get(path, [])


def at_and_above(path: str) -> Iterator[str]:
    """Yield a path and all its parents; the data directory, an empty string, comes last."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""

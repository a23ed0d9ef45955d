"""What a restore keeps though the archive lacks it: what that says that it lacks, and what is mounted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

MAX_ABOVE: Final = 16 * 1024 * 1024
"""Characters of all paths above those that are kept."""


class Kept:
    """What a restore removes in no case, though the archive lacks it: these paths, and what lies below them.

    :param left_out: what the archive says that it lacks.
    :param mounts: where other file systems are mounted.
    :param bound: what is mounted elsewhere, too, and where. What has two places in the data counts as mounted in both;
        of what is mounted outside, the directory is kept, but not what lies in it.
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
            if room < 0:  # too much to know it all: then nothing is removed at all
                self._paths, self._above = self.mounts | {""}, {""}
                break

    def at(self, path: str) -> bool:
        """Whether it is one of these paths."""
        return path in self._paths

    def below(self, path: str) -> bool:
        """Whether it is one of these paths, or below one."""
        return any(map(self.at, at_and_above(path)))

    def within(self, path: str) -> bool:
        """Whether it is one of these paths, or above one."""
        return path in self._above

    def twins(self, path: str) -> list[str]:
        """Where else in the data that is to be seen which is mounted at a path."""
        return self._twins.get(path, [])


def at_and_above(path: str) -> Iterator[str]:
    """A path and all above it, the data directory's own last."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""

"""Files with several names (hard links): each is packed once, its further names as links to the first, as tar does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_REMEMBERED: Final = 64 * 1024 * 1024
"""Bytes of names that are remembered, of some 120,000 files: those beyond that are packed once for each name."""
_ENTRY: Final = 512


class _First(NamedTuple):
    name: str
    left: int
    """How many more names the file has."""
    content: tuple[int, int]
    """Size and time of the content that was packed."""


class SecondNames:
    """The files with several names that were met so far.

    :param mounts: where other file systems are mounted: no link leads from one mount to another.
    """

    def __init__(self, mounts: Iterable[str]) -> None:
        self._mounts = sorted(mounts, key=len, reverse=True)
        self._firsts: dict[tuple[str, int, int], _First] = {}
        self._room = MAX_REMEMBERED

    def first(self, name: str, status: os.stat_result) -> str | None:
        """Return the name under which a file was met before with the same content, or None.

        :param status: of the file, which has several names.
        """
        key = (self._mount(name), status.st_dev, status.st_ino)
        content = (status.st_size, status.st_mtime_ns)
        known = self._firsts.pop(key, None)
        if known is None:
            self._remember(key, _First(name, status.st_nlink - 1, content))
            return None
        self._room += _ENTRY + len(known.name)
        if known.content != content:
            return None
        self._remember(key, known._replace(left=known.left - 1))
        return known.name

    def _remember(self, key: tuple[str, int, int], first: _First) -> None:
        size = _ENTRY + len(first.name)
        if first.left > 0 and size <= self._room:
            self._room -= size
            self._firsts[key] = first

    def _mount(self, name: str) -> str:
        return next((mount for mount in self._mounts if name.startswith(f"{mount}/")), "")

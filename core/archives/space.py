"""What is left of the file systems that an archive is unpacked onto."""

from __future__ import annotations

import os
from dataclasses import dataclass

from jidoteki.core.archives.tar import ArchiveError, refuse
from jidoteki.hookspecs.free_space import share, spendable

MIB = 1024 * 1024
CHECK_SPACE_EACH = 16 * MIB
SMALLEST_ON_DISK = 4096


@dataclass(slots=True)
class _Left:
    size: int = 0
    """Bytes that may be written until it is looked again."""
    block: int = SMALLEST_ON_DISK


class Space:
    """Looks now and then, and the oftener the less there is left, whether enough stays free.

    :param root: descriptor of the directory that is unpacked into.
    :param free_space: bytes that stay free on its file system; on another one as much as `share` says.
    """

    def __init__(self, root: int, free_space: int) -> None:
        self._root = root
        self._free_space = free_space
        self._left: dict[int, _Left] = {}

    def use(self, name: str, top: int, size: int, coming: int = 0, blocks: int = 0) -> None:
        """Take note of what is about to be written for a member.

        :param top: descriptor of the directory at the top of what goes to the same file system.
        :param size: bytes.
        :param coming: bytes that are to be written later, for which there must be room, too.
        :param blocks: of the disk that it takes beside these bytes, for it begins or ends within some.
        :raises ArchiveError: it would leave too little free.
        """
        left = self._left.setdefault(top, _Left())
        size += blocks * left.block
        if left.size < size + coming:
            self._look(name, top, left, size, size + coming)
        left.size -= size

    def _look(self, name: str, top: int, left: _Left, size: int, needed: int) -> None:
        keep = self._free_space if top == self._root else share(top, self._free_space)
        found = spendable(top, keep)
        if found < needed:
            room = f"less than {keep} bytes of disk free: {found + keep} are free and {needed} more are needed"
            if top == self._root:
                raise ArchiveError(f"Unpacking the archive would leave {room} for {name[:100]!a}")
            raise refuse(
                name, f"finds no room on the file system that is mounted where it belongs, and would leave {room}"
            )
        left.size = max(size, min(CHECK_SPACE_EACH, found // 2))
        left.block = max(SMALLEST_ON_DISK, os.fstatvfs(top).f_frsize)

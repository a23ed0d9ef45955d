"""Free space on the file systems that an archive is unpacked to."""

from __future__ import annotations

import os
from dataclasses import dataclass

from jidoteki.core.archives.tar import NoRoomError, refuse
from jidoteki.hookspecs.free_space import share, spendable

MIB = 1024 * 1024
CHECK_SPACE_EACH = 16 * MIB
SMALLEST_ON_DISK = 4096


@dataclass(slots=True)
class _Left:
    size: int = 0
    """Bytes that may be written before the next check."""
    block: int = SMALLEST_ON_DISK


class Space:
    """A check that enough space stays free, made more often the less is left.

    :param root: descriptor of the directory that is unpacked into.
    :param free_space: bytes that must stay free on its file system; on another one, as much as `share` returns.
    """

    def __init__(self, root: int, free_space: int) -> None:
        self._root = root
        self._free_space = free_space
        self._left: dict[int, _Left] = {}

    def use(self, name: str, top: int, size: int, coming: int = 0, blocks: int = 0) -> None:
        """Account for bytes that are about to be written for a member.

        :param top: descriptor of the top directory on the same file system.
        :param size: bytes.
        :param coming: bytes to be written later, for which there must be space, too.
        :param blocks: additional disk blocks, for data that begins or ends within a block.
        :raises NoRoomError: too little space would stay free.
        """
        left = self._left.setdefault(top, _Left())
        size += blocks * left.block
        if left.size < size + coming:
            self._check(name, top, left, size, size + coming)
        left.size -= size

    def _check(self, name: str, top: int, left: _Left, size: int, needed: int) -> None:
        keep = self._free_space if top == self._root else share(top, self._free_space)
        found = spendable(top, keep)
        if found < needed:
            room = f"less than {keep} bytes of disk free: {found + keep} are free and {needed} more are needed"
            if top == self._root:
                raise NoRoomError(f"Unpacking the archive would leave {room} for {name[:100]!a}")
            raise refuse(
                name, f"finds no room on the file system that is mounted where it belongs, and would leave {room}"
            )
        left.size = max(size, min(CHECK_SPACE_EACH, found // 2))
        left.block = max(SMALLEST_ON_DISK, os.fstatvfs(top).f_frsize)

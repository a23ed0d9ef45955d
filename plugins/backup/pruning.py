"""Reducing an unpacked backup to the paths that `backup.txt` lists, and their parents."""

from __future__ import annotations

import os
from typing import Final

from jidoteki.hookspecs import JobError
from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.plugins.backup.backup_list import Selection
from jidoteki.plugins.backup.descriptors import is_empty
from jidoteki.plugins.backup.plan_lines import Tell, joined
from jidoteki.plugins.backup.staging import set_aside
from jidoteki.plugins.backup.volumes import Volumes

SHOWN: Final = 100
MAX_TOLD: Final = 100


def prune(volumes: Volumes, listed: Selection, tell: Tell) -> None:
    """Remove and log the paths of a new tree that are not listed any more.

    :param volumes: the new tree, by file systems.
    :raises JobError: nothing is left.
    """
    pruning = _Pruning(volumes, listed, tell)
    left = pruning.prune(volumes.main.new)
    if pruning.count > MAX_TOLD:
        tell(f"{pruning.count - MAX_TOLD} more paths in the archive are not listed in backup.txt and left out")
    if not left:
        raise JobError("The archive holds nothing that belongs to a backup of this appliance")


class _Open:
    """A directory that is being walked; it owns the descriptor.

    :param name: in its parent.
    """

    def __init__(self, path: str, name: str, directory: int) -> None:
        self.path = path
        self.name = name
        self.directory = directory
        self.status = os.fstat(directory)
        self.again()

    def again(self) -> None:
        """Start again from the beginning."""
        self.entries = os.scandir(self.directory)
        self.taken = False

    def close(self) -> None:
        self.entries.close()
        os.close(self.directory)


class _Pruning:
    def __init__(self, volumes: Volumes, listed: Selection, tell: Tell) -> None:
        self._volumes = volumes
        self._listed = listed
        self._tell = tell
        self.count = 0

    def prune(self, top: int) -> bool:
        """Prune the new tree; return whether anything is left.

        :param top: descriptor of its top.
        """
        if not self._listed.covers(""):
            opened = [_Open("", "", os.dup(top))]
            try:
                while opened:  # no recursion: a listed path may be deeper than the stack
                    self._go_on(opened)
            finally:
                for each in opened:
                    each.close()
        return not is_empty(top)

    def _go_on(self, opened: list[_Open]) -> None:
        """Handle the next entry of the last directory."""
        last = opened[-1]
        entry = next(last.entries, None)
        if entry is None:
            self._end(opened)
            return
        path = joined(last.path, entry.name)
        if self._listed.covers(path):
            return
        if self._listed.leads_to(path) and entry.is_dir(follow_symlinks=False):
            volume = self._volumes.at(path)
            name, above = (".", volume.new) if volume else (entry.name, last.directory)
            opened.append(_Open(path, entry.name, os.open(name, DIRECTORY, dir_fd=above)))
            return
        self.count += 1
        if self.count <= MAX_TOLD:
            self._tell(f"{path[:SHOWN]!a} is left out: backup.txt does not list it")
        self._take(last, entry.name)

    def _end(self, opened: list[_Open]) -> None:
        """Leave the last directory, and remove it if it is empty."""
        last = opened[-1]
        # A directory may not show all its entries while some are being removed.
        if last.taken:
            last.again()
            return
        os.utime(last.directory, ns=(last.status.st_atime_ns, last.status.st_mtime_ns))
        opened.pop()
        empty = is_empty(last.directory)
        last.close()
        if opened and empty:
            self._take(opened[-1], last.name)

    def _take(self, of: _Open, name: str) -> None:
        set_aside(name, of.directory, self._volumes.of(of.path).old)
        of.taken = True

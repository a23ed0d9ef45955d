"""What of an unpacked backup is restored: nothing but what `backup.txt` lists, and the directories above it."""

from __future__ import annotations

import os
from typing import Final

from jidoteki.hookspecs import JobFailed
from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.plugins.backup.descriptors import closing, is_empty
from jidoteki.plugins.backup.listed import Selection
from jidoteki.plugins.backup.plans import Tell, joined
from jidoteki.plugins.backup.staging import set_aside
from jidoteki.plugins.backup.volumes import Volumes

SHOWN: Final = 100
MAX_TOLD: Final = 100


def prune(volumes: Volumes, listed: Selection, tell: Tell) -> None:
    """Take out of a new tree what is not listed any more; it is named in the log.

    :param volumes: the new tree, by file systems.
    :raises JobFailed: nothing is left.
    """
    pruning = _Pruning(volumes, listed, tell)
    left = pruning.prune("", volumes.main.new)
    if pruning.count > MAX_TOLD:
        tell(f"{pruning.count - MAX_TOLD} more paths in the archive are not listed in backup.txt and left out")
    if not left:
        raise JobFailed("The archive holds nothing that belongs to a backup of this appliance")


class _Pruning:
    def __init__(self, volumes: Volumes, listed: Selection, tell: Tell) -> None:
        self._volumes = volumes
        self._listed = listed
        self._tell = tell
        self.count = 0

    def prune(self, path: str, directory: int) -> bool:
        """Prune one directory; whether anything is left."""
        if self._listed.covers(path):
            return not is_empty(directory)
        times = os.fstat(directory)
        # Whether a directory that is being read shows all that is in it while some of that is removed is not sure.
        while self._pass(path, directory):
            pass
        os.utime(directory, ns=(times.st_atime_ns, times.st_mtime_ns))
        return not is_empty(directory)

    def _pass(self, path: str, directory: int) -> bool:
        """Go through a directory once; whether something was taken out of it."""
        taken = False
        with os.scandir(directory) as entries:
            for entry in entries:
                below = joined(path, entry.name)
                if not (self._listed.covers(below) or self._leads(below, entry, directory)):
                    set_aside(entry.name, directory, self._volumes.of(path).old)
                    taken = True
        return taken

    def _leads(self, path: str, entry: os.DirEntry[str], parent: int) -> bool:
        """Whether something that is listed lies below a path, after all else there was taken out."""
        if self._listed.leads_to(path) and entry.is_dir(follow_symlinks=False):
            volume = self._volumes.at(path)
            name, above = (".", volume.new) if volume else (entry.name, parent)
            with closing(os.open(name, DIRECTORY, dir_fd=above)) as inner:
                return self.prune(path, inner)
        self.count += 1
        if self.count <= MAX_TOLD:
            self._tell(f"{path[:SHOWN]!a} is left out: backup.txt does not list it")
        return False

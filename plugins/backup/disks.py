"""The file systems below the data directory that an archive has content for, found while it is unpacked."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from jidoteki.hookspecs import JobError
from jidoteki.hookspecs.free_space import FULL
from jidoteki.hookspecs.mounts import mounts_below
from jidoteki.plugins.backup.backup_list import Selection
from jidoteki.plugins.backup.journal import MAX_MOUNTS, Journal
from jidoteki.plugins.backup.volumes import Volumes, is_mounted


class Disks:
    """The mounted file systems, each of which gets a restore directory as soon as it is needed.

    :param data: the data directory.
    :param listed: file systems without listed paths get no directory.
    """

    def __init__(self, data: Path, volumes: Volumes, journal: Journal, listed: Selection) -> None:
        self._data = data
        self._volumes = volumes
        self._journal = journal
        self._listed = listed
        self._mounts = frozenset(mounts_below(data))
        self.reasons: dict[str, str] = {}
        """Why nothing can be restored to a file system, by mount point."""

    def directory(self, path: str) -> int | None:
        """Return where to unpack the content of a directory; None for the default.

        :param path: below the data directory.
        :raises JobError: the file system there is full.
        :raises OSError: the journal cannot be written.
        """
        if not (self._is_listed(path) and is_mounted(self._volumes.data, path, self._mounts)):
            return None
        entry = self._journal.read()
        if entry is None:
            return None
        if len(entry.mounts) == MAX_MOUNTS:
            self.reasons[path] = f"more than {MAX_MOUNTS} file systems are mounted below the data"
            return None
        # Before the directory is made, so that it is found after a kill.
        entry = self._journal.write(replace(entry, mounts=(*entry.mounts, path)))
        try:
            return self._volumes.make(path, entry).new
        except OSError as error:
            if error.errno in FULL:
                raise JobError(f"{path} cannot be restored: the file system that is mounted there is full") from error
            self._journal.write(replace(entry, mounts=entry.mounts[:-1]))
            self.reasons[path] = error.strerror or str(error)
        return None

    def room(self) -> int:
        """Return the free space on all of them, in bytes."""
        total = 0
        for path in filter(self._is_listed, self._mounts):
            with suppress(OSError):
                status = os.statvfs(self._data / path)
                total += status.f_bavail * status.f_frsize
        return total

    def _is_listed(self, path: str) -> bool:
        return self._listed.covers(path) or self._listed.leads_to(path)

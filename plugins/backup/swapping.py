"""Putting a restored tree in place of the old one, all of it or nothing.

The new tree is complete, beside the old one on the same file system, before a journal lists the renames to make. From
the moment the journal is on disk they are made: by the job, or by whoever finds the journal after it was killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from jidoteki.hookspecs import Appliance, JobFailed
from jidoteki.plugins.backup.selection import EVERYTHING, STAGING


class Swap:
    """A restore of one appliance."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._data = appliance.data
        self._staging = appliance.data / STAGING
        self._journal = appliance.admin / "jobs/restore-journal.json"
        self.new = self._staging / "new"
        self._old = self._staging / "old"

    def finish(self) -> None:
        """Complete what a killed restore began to swap, and remove what it left; call it while none runs."""
        plan = self._appliance.read_json(self._journal)
        if isinstance(plan, list):
            self._swap(plan)
        self._clear()

    def prepare(self) -> None:
        """Make an empty directory for the new tree."""
        self.finish()
        self._data.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(mode=0o700)
        self.new.mkdir()
        self._old.mkdir()

    def targets(self, selected: list[str]) -> list[str]:
        """The paths that the new tree replaces.

        :raises JobFailed: it is empty, or holds something that does not belong to a backup of this appliance.
        """
        if selected == [EVERYTHING]:
            names = {*os.listdir(self.new), *os.listdir(self._data)} - {STAGING}
            found = sorted(names) if os.listdir(self.new) else []
        else:
            found = self._found("", selected)
        if not found:
            raise JobFailed("The archive holds nothing that belongs to a backup of this appliance")
        for target in found:
            self._check_file_system(target)
        return found

    def _found(self, directory: str, selected: list[str]) -> list[str]:
        found = []
        for name in sorted(os.listdir(self.new / directory)):
            path = f"{directory}/{name}" if directory else name
            if path in selected:
                found.append(path)
            elif any(each.startswith(f"{path}/") for each in selected) and self._is_directory(self.new / path):
                found += self._found(path, selected)
            else:
                raise JobFailed(f"The archive holds {path[:100]!a}, which backup.txt does not list")
        return found

    @staticmethod
    def _is_directory(path: Path) -> bool:
        return path.is_dir() and not path.is_symlink()

    def _check_file_system(self, target: str) -> None:
        """Refuse what cannot be renamed: a mount point, or what lies below one or below a link."""
        device = self._staging.stat().st_dev
        path = self._data
        for part in target.split("/"):
            path = path / part
            if not os.path.lexists(path):
                return
            if os.lstat(path).st_dev != device:
                raise JobFailed(f"{target} lies on another file system than the data directory and cannot be restored")
            if path.is_symlink() and path != self._data / target:
                raise JobFailed(f"{target} lies below a symbolic link and cannot be restored")

    def commit(self, targets: list[str]) -> None:
        """Replace the targets.

        :raises OSError: before the journal was written nothing was changed; after it the next `finish` goes on.
        """
        _sync_file_system(self._staging)
        plan = [[target, os.path.lexists(self.new / target)] for target in targets]
        self._appliance.replace_file(self._journal, json.dumps(plan), mode=0o600)
        self._swap(plan)
        self._clear()

    def _swap(self, plan: list[list[Any]]) -> None:
        """Make the renames of a plan of `[target, whether a new one comes]`; each can be repeated at any point."""
        parents = set()
        for target, coming in plan:
            new, old, place = self.new / target, self._old / target, self._data / target
            arrived = coming and not os.path.lexists(new)
            parents.add(place.parent)
            if not arrived and os.path.lexists(place) and not os.path.lexists(old):
                old.parent.mkdir(parents=True, exist_ok=True)
                os.rename(place, old)
            if coming and not arrived:
                place.parent.mkdir(parents=True, exist_ok=True)
                os.rename(new, place)
        for parent in parents:
            if parent.is_dir():
                _sync_directory(parent)
        self._journal.unlink(missing_ok=True)
        _sync_directory(self._journal.parent)

    def _clear(self) -> None:
        if self._staging.is_dir():
            shutil.rmtree(self._staging, ignore_errors=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(path: Path) -> None:
    """Make everything on a file system durable at once: much faster than file by file."""
    try:
        subprocess.run(["sync", "-f", str(path)], check=True, timeout=600, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        os.sync()

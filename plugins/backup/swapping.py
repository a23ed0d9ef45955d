"""Putting a restored tree in place of the old one, all of it or nothing.

The new tree is complete, in a directory of its own on the same file system, before a journal lists the renames to make.
From the moment the journal is on disk they are made: by the job, or by whoever finds the journal after it was killed.
When one of them is impossible, those before it are taken back.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance
from jidoteki.plugins.backup.locking import abandoned, hold
from jidoteki.plugins.backup.selection import STAGING

Plan = list[tuple[str, bool]]
"""What is replaced, by its path below the data directory, and whether something new takes its place."""

SYNC_TIME: Final = 600.0
_IN_THE_WAY: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)


class Swap:
    """One restore, and the directory that it works in."""

    def __init__(self, appliance: Appliance, id: str) -> None:
        self.directory = appliance.data / f"{STAGING}{id}"
        self.new = self.directory / "new"
        self._appliance = appliance
        self._data = appliance.data
        self._old = self.directory / "old"
        self._journal = self.directory / "journal.json"

    def prepare(self) -> None:
        """Make an empty directory `new` for the new tree, which is this process's own until it ends.

        :raises OSError: that is impossible.
        """
        if not self._data.is_dir():
            self._data.mkdir(parents=True)
            self._data.chmod(0o755)
        self.directory.mkdir(mode=0o700)
        if hold(self.directory) is None:
            raise OSError(errno.EBUSY, "the directory for the restored data cannot be locked")
        self.new.mkdir(mode=0o700)
        self._old.mkdir(mode=0o700)

    def commit(self, targets: list[str]) -> None:
        """Replace the targets by what is in `new`; one that is not in there is removed.

        :raises OSError: nothing was changed, or, when even that is impossible, `finish` has to be tried again later.
        """
        plan = [(target, os.path.lexists(self.new / target)) for target in targets]
        _sync_file_system(self.directory)
        try:
            self._appliance.replace_file(self._journal, json.dumps(plan), mode=0o600)
        except BaseException:
            self._journal.unlink(missing_ok=True)
            raise
        self._carry_out(plan)

    def finish(self) -> None:
        """Complete what a killed process began to swap.

        :raises OSError: it can neither be completed nor taken back now.
        """
        plan = self._appliance.read_json(self._journal)
        if plan is not None:
            self._carry_out(plan)

    def discard(self) -> None:
        """Remove all that is left of it, unless it still has to be completed. What was swapped stays so."""
        if not os.path.lexists(self._journal):
            with suppress(RecursionError):
                shutil.rmtree(self.directory, ignore_errors=True)

    def _carry_out(self, plan: Plan) -> None:
        try:
            for number, (target, coming) in enumerate(plan):
                self._replace(number, target, coming)
        except BaseException:
            for number, (target, coming) in enumerate(plan):
                self._take_back(number, target, coming)
            self._close(plan)
            raise
        self._close(plan)

    def _replace(self, number: int, target: str, coming: bool) -> None:
        """Make the two renames for a target, or those that were not made yet."""
        new, old, place = self.new / target, self._old / str(number), self._data / target
        if coming and not os.path.lexists(new):
            return
        if os.path.lexists(place) and not os.path.lexists(old):
            os.rename(place, old)
        if coming:
            self._move(new, place)

    def _take_back(self, number: int, target: str, coming: bool) -> None:
        new, old, place = self.new / target, self._old / str(number), self._data / target
        if coming and not os.path.lexists(new):
            os.rename(place, new)
        if os.path.lexists(old):
            self._move(old, place)

    def _move(self, source: Path, place: Path) -> None:
        """Rename something to a free place: what another program may have made there in the meantime goes away."""
        try:
            os.rename(source, place)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            os.rename(place, self._old / secrets.token_hex(8))
            os.rename(source, place)

    def _close(self, plan: Plan) -> None:
        """Make the renames durable before the journal that could repeat them goes."""
        parents = {(self._data / target).parent for target, _ in plan} | {self._old, self.new}
        for parent in parents:
            _sync_directory(parent)
        self._journal.unlink()
        _sync_directory(self.directory)


def finish_all(appliance: Appliance) -> None:
    """Complete what killed restores began to swap, and leave alone those that live.

    :raises OSError: one can neither be completed nor taken back now.
    """
    for swap in _abandoned(appliance):
        swap.finish()


def remove_all(appliance: Appliance) -> None:
    """Remove what killed restores left, but not what still has to be completed."""
    for swap in _abandoned(appliance):
        swap.discard()


def _abandoned(appliance: Appliance) -> Iterator[Swap]:
    """The swaps whose process has died, each locked for as long as it is looked at."""
    for directory in sorted(appliance.data.glob(f"{STAGING}*")):
        with abandoned(directory) as dead:
            if dead:
                yield Swap(appliance, directory.name.removeprefix(STAGING))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(path: Path) -> None:
    """Make everything on a file system durable at once: much faster than file by file."""
    try:
        subprocess.run(["sync", "-f", str(path)], check=True, timeout=SYNC_TIME, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        os.sync()

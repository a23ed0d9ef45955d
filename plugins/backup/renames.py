"""The renames of a restore.

The application's user may rename, replace and remove every directory in the data meanwhile. So each rename is made
between two directories that are open, which were entered from the data directory down without following a link.
"""

from __future__ import annotations

import errno
import os
import resource
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.plugins.backup.journal import Plan
from jidoteki.plugins.backup.staging import NEW, OLD, Staging

_IN_THE_WAY: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_MANY: Final = 256


class Renames:
    """The renames of one restore, between directories that stay open until the last of them.

    :param opened: closes them.
    """

    def __init__(self, data: int, staging: Staging, opened: ExitStack) -> None:
        self._data = data
        self._name = staging.name
        self._opened = opened
        self._new = opened.enter_context(staging.opened(NEW))
        self._old = opened.enter_context(staging.opened(OLD))
        self._parents: dict[str, int] = {}
        self.lost: list[str] = []
        """Directories in which something is to be replaced, and which are not there any more."""

    def planned(self, targets: list[str]) -> Plan:
        """For each target, whether something new takes its place."""
        plan = []
        for target in targets:
            with self._coming(target) as new:
                plan.append((target, _is_there(_base(target), new)))
        return plan

    def enter(self, plan: Plan) -> None:
        """Open the directories that the targets lie in."""
        parents = dict.fromkeys(_parent(target) for target, _ in plan)
        if len(parents) > _MANY:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for parent in parents:
            try:
                self._parents[parent] = self._keep(directory_beneath(self._data, _components(parent)))
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                self.lost.append(parent)

    def make(self, plan: Plan) -> None:
        """Make all renames, or those that were not made yet.

        :raises OSError: one is impossible, or led out of the data directory.
        """
        if self.lost:
            raise OSError(errno.ENOENT, f"{self.lost[0]} was replaced meanwhile")
        for number, (target, coming) in enumerate(plan):
            self._replace(number, target, coming)
        for parent, descriptor in self._parents.items():
            self._check(parent, descriptor)

    def take_back(self, plan: Plan) -> None:
        """Take back all renames, each if it was made.

        :raises OSError: one cannot be taken back now.
        """
        failure = None
        for number, (target, coming) in enumerate(plan):
            try:
                if _parent(target) in self._parents:
                    self._take_back(number, target, coming)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    self.lost.append(_parent(target))
                else:
                    failure = error
        if failure:
            raise failure

    def sync(self) -> None:
        """Make the renames durable."""
        for descriptor in (*self._parents.values(), self._old, self._new):
            os.fsync(descriptor)

    def kept(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """The targets that could not be put back, and where they lie in the data directory."""
        for number, (target, _) in enumerate(plan):
            if _is_there(str(number), self._old):
                yield target, f"{self._name}/{OLD}/{number}"

    def _replace(self, number: int, target: str, coming: bool) -> None:
        """Make the two renames for a target, or those that were not made yet."""
        base, place, old = _base(target), self._parents[_parent(target)], str(number)
        with self._coming(target) as new:
            if coming and not _is_there(base, new):
                return
            if _is_there(base, place) and not _is_there(old, self._old):
                os.rename(base, old, src_dir_fd=place, dst_dir_fd=self._old)
            if coming:
                self._move(base, new, base, place)

    def _take_back(self, number: int, target: str, coming: bool) -> None:
        base, place, old = _base(target), self._parents[_parent(target)], str(number)
        with self._coming(target) as new:
            if coming and not _is_there(base, new):
                with suppress(FileNotFoundError):  # somebody else removed it
                    os.rename(base, base, src_dir_fd=place, dst_dir_fd=new)
        if _is_there(old, self._old):
            self._move(old, self._old, base, place)

    def _move(self, source: str, directory: int, base: str, place: int) -> None:
        """Rename something to a free place: what another program may have made there in the meantime goes away."""
        try:
            os.rename(source, base, src_dir_fd=directory, dst_dir_fd=place)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            os.rename(base, secrets.token_hex(8), src_dir_fd=place, dst_dir_fd=self._old)
            os.rename(source, base, src_dir_fd=directory, dst_dir_fd=place)

    def _check(self, parent: str, descriptor: int) -> None:
        """Make sure that a directory is still where it was when it was opened."""
        try:
            now = directory_beneath(self._data, _components(parent))
        except OSError as error:
            raise OSError(error.errno, f"{parent} was replaced meanwhile") from error
        try:
            if not os.path.sameopenfile(now, descriptor):
                raise OSError(errno.ESTALE, f"{parent} was replaced meanwhile")
        finally:
            os.close(now)

    @contextmanager
    def _coming(self, target: str) -> Iterator[int]:
        """Open the directory in the new tree that a target comes from."""
        descriptor = directory_beneath(self._new, _components(_parent(target)))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _keep(self, descriptor: int) -> int:
        self._opened.callback(os.close, descriptor)
        return descriptor


def _parent(target: str) -> str:
    return target.rpartition("/")[0]


def _base(target: str) -> str:
    return target.rpartition("/")[2]


def _components(path: str) -> list[str]:
    return path.split("/") if path else []


def _is_there(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True

"""Planning the renames of a restore; those that would remove what must be kept are refused.

Both trees are walked in parallel, through descriptors, without following links. A directory that both have stays, and
its entries are compared; any other entry is renamed as a whole.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Literal, NamedTuple

from jidoteki.hookspecs import JobError
from jidoteki.hookspecs.paths import DIRECTORY, directory_beneath
from jidoteki.hookspecs.restorable import IMPLIED, is_reserved
from jidoteki.plugins.backup import mount_point_files, owners
from jidoteki.plugins.backup.backup_list import Selection
from jidoteki.plugins.backup.comparison import has_all, is_same
from jidoteki.plugins.backup.descriptors import closing, exists, is_directory, is_empty
from jidoteki.plugins.backup.kept_paths import Kept, at_and_above
from jidoteki.plugins.backup.plan_lines import BATCH, MAX_TIME, Action, Line, components, joined
from jidoteki.plugins.backup.pruning import SHOWN
from jidoteki.plugins.backup.restore_space import Room
from jidoteki.plugins.backup.volumes import MAIN, Volumes

_Decision = Action | Literal["stay"] | None
"""The decision about an entry; None for a directory that stays and is entered."""
Settle = Callable[[str, int, int], None]


class _Pair(NamedTuple):
    """A directory in both trees, or in the data alone."""

    path: str
    new: int | None
    data: int
    covered: bool
    """Whether `backup.txt` lists it or one of its parents."""
    exact: bool
    """Whether listed entries that the new tree lacks are removed."""
    by: int | None = None
    """The user other than root and the service who may have put the directory at its path."""


class Planner:
    """The planner of a restore.

    :param volumes: the data directory and the new tree, which contains only what `backup.txt` lists.
    :param exact: whether listed paths are replaced as a whole; else nothing is removed that the new tree lacks.
    :param reasons: why nothing can be restored to a file system mounted below the data, by mount point.
    :param room: the space for mounted files that are saved and rewritten.
    :param settle: called for each directory that is renamed as a whole, with its name and the descriptors of the
        directories that it is moved from and to.
    """

    def __init__(
        self, volumes: Volumes, listed: Selection, kept: Kept, *, exact: bool, reasons: Mapping[str, str],
        room: Room, settle: Settle | None = None,
    ) -> None:  # fmt: skip
        self._volumes = volumes
        self._fixed = any(volume.is_fixed() for volume in volumes)
        self._listed = listed
        self._kept = kept
        self._exact = exact
        self._reasons = reasons
        self._room = room
        self._settle = settle

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the plan.

        :raises JobError: an entry cannot be restored, or would remove what must be kept.
        :raises OSError: an entry was replaced in the meantime.
        """
        for volume in self._volumes:
            with ExitStack() as opened:
                try:
                    data = opened.enter_context(closing(directory_beneath(self._volumes.data, components(volume.path))))
                    there = os.path.sameopenfile(data, volume.top)
                except OSError:
                    there = False
                if not there:
                    raise JobError(f"{_shown(volume.path)} cannot be restored: it was unmounted meanwhile")
            if not self._is_restored_elsewhere(volume.path):
                exact = self._exact and not self._kept.below(volume.path)
                covered = self._listed.covers(volume.path)
                yield from self._directory(_Pair(volume.path, volume.new, volume.top, covered, exact))

    def _directory(self, pair: _Pair) -> Iterator[Line]:
        entries: dict[str, Action] = {}
        status = os.fstat(pair.data)
        owner = status.st_uid if pair.by is not None and os.geteuid() == 0 else None
        for name, decision in self._decisions(pair):
            if decision is None:
                yield from self._enter(pair, name)
                continue
            entries[name] = decision
            if len(entries) == BATCH:
                yield Line(pair.path, entries, None, status.st_ino, owner)
                entries = {}
        time = _time(pair)
        if entries or time is not None:
            yield Line(pair.path, entries, time, status.st_ino, owner)

    def _decisions(self, pair: _Pair) -> Iterator[tuple[str, Action | None]]:
        if pair.new is not None:
            with os.scandir(pair.new) as coming:
                for entry in coming:
                    decision = self._for_coming(pair, entry, pair.new)
                    if decision != "stay":
                        yield entry.name, decision
        if pair.exact and pair.covered:
            with os.scandir(pair.data) as there:
                for entry in there:
                    path = joined(pair.path, entry.name)
                    if is_reserved(entry.name) or self._kept.at(path):
                        continue
                    if pair.new is not None and exists(entry.name, pair.new):
                        continue
                    kept = self._kept.within(path)
                    if entry.is_dir(follow_symlinks=False):
                        yield entry.name, None if kept or self._fixed else "remove"
                    elif not kept:
                        yield entry.name, "remove"

    def _for_coming(self, pair: _Pair, entry: os.DirEntry[str], new: int) -> _Decision:
        coming = entry.is_dir(follow_symlinks=False)
        if owners.would_gain(entry, pair.data, new, pair.by):
            path = _shown(joined(pair.path, entry.name))
            raise JobError(f"{path} cannot be restored: others may have put the directory there that it would be in")
        decision: _Decision = "put"
        try:
            there = stat.S_ISDIR(os.stat(entry.name, dir_fd=pair.data, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            pass
        else:
            decision = self._over(pair, entry.name, there, coming)
        if coming and decision is not None and self._settle:
            self._settle(entry.name, new, pair.data if _time(pair) is None else new)
        return decision

    def _over(self, pair: _Pair, name: str, there: bool, coming: bool) -> _Decision:
        """Decide about a new entry where one exists; each may be a directory."""
        path = joined(pair.path, name)
        covered = pair.covered or self._listed.covers(path)
        exact = pair.exact and covered and not self._kept.within(path)
        if there and coming:
            return self._both(pair, name, covered, exact)
        if path in self._kept.mounts:
            return self._fill(pair, name, "fill")
        if path in self._kept.bound and not there:
            return self._fill(pair, name, "write")
        if coming and not covered:
            raise JobError(f"{path[:SHOWN]} cannot be restored: {path[:SHOWN]} is no directory")
        if there and (self._fixed or path in self._kept.bound):
            raise JobError(f"{_shown(path)} cannot be restored: a directory is there, which cannot be removed")
        if there and not exact and not _is_empty(name, pair.data):
            raise JobError(f"{_shown(path)} cannot be restored: a directory is there, which is not empty")
        return "replace" if exact else "put"

    def _both(self, pair: _Pair, name: str, covered: bool, exact: bool) -> _Decision:
        """Decide about a directory in both trees: it stays, unless others may have replaced it."""
        path = joined(pair.path, name)
        if path in self._kept.mounts or self._volumes.at(path) or pair.new is None:
            return None
        with _opened(name, pair.data) as data, _opened(name, pair.new) as new:
            difference = owners.difference(data, new, owners.renamer(pair.data, pair.by, data), covered)
            if difference is None:
                return None
            if covered and not self._fixed and (exact or is_empty(data)):
                return "replace" if exact else "put"
        way = "" if exact or not covered or self._fixed else ", or restore with mode=exact, which replaces it"
        remedy = f"give it the owner and mode of the archive{way}"
        raise JobError(f"{_shown(path)} cannot be restored: {difference}: {remedy}")

    def _fill(self, pair: _Pair, name: str, action: Literal["fill", "write"]) -> _Decision:
        """Decide about a new entry where a file is that is a mount point or mounted elsewhere."""
        path = joined(pair.path, name)
        if pair.new is None or not stat.S_ISREG(os.stat(name, dir_fd=pair.new, follow_symlinks=False).st_mode):
            raise self._mounted(path)
        twin = self._twin(path)
        if twin is not None:
            above, _, called = twin.rpartition("/")
            with closing(self._volumes.new(above)) as there:
                if not is_same(name, there, pair.new, called):
                    raise _differs(path, twin)
            return "stay"
        try:
            mount_point_files.check(name, pair.data, pair.new, is_mounted=action == "fill", room=self._room)
        except OSError as error:
            if is_same(name, pair.data, pair.new):
                return "stay"
            raise self._mounted(path, error.strerror) from error
        return action

    def _enter(self, pair: _Pair, name: str) -> Iterator[Line]:
        path = joined(pair.path, name)
        if self._volumes.at(path):  # `lines` visits it separately
            return
        with ExitStack() as opened:
            data = opened.enter_context(_opened(name, pair.data))
            new = None
            if pair.new is not None and exists(name, pair.new):
                new = opened.enter_context(_opened(name, pair.new))
            if path in self._kept.mounts or os.fstat(data).st_dev != os.fstat(pair.data).st_dev:
                if new is not None and not has_all(data, new) and not self._is_restored_elsewhere(path):
                    raise self._mounted(path)
                return
            covered = pair.covered or self._listed.covers(path)
            by = owners.renamer(pair.data, pair.by, data)
            yield from self._directory(_Pair(path, new, data, covered, pair.exact and not self._kept.at(path), by))

    def _is_restored_elsewhere(self, path: str) -> bool:
        """Return whether the directory mounted at a path is restored at another path where it is mounted, too.

        :raises JobError: the archive has other content there.
        """
        twin = self._twin(path)
        if twin is not None and not self._brings(twin, path):
            raise _differs(path, twin)
        return twin is not None

    def _twin(self, path: str) -> str | None:
        """Return another path in the data of what is mounted at a path, if that is restored."""
        for twin in self._kept.twins(path):
            mount = next((each for each in at_and_above(twin) if each in self._kept.mounts), MAIN)
            above, _, name = twin.rpartition("/")
            if self._volumes.at(mount) and self._is_one(path, twin):
                with suppress(FileNotFoundError), closing(self._volumes.new(above)) as new:
                    if exists(name, new):
                        return twin
        return None

    def _is_one(self, *paths: str) -> bool:
        """Return whether two paths in the data are the same directory or file."""
        found = []
        for path in paths:
            above, _, name = path.rpartition("/")
            with suppress(OSError), closing(directory_beneath(self._volumes.data, components(above))) as parent:
                found.append(os.stat(name, dir_fd=parent, follow_symlinks=False))
        return len(found) == len(paths) and os.path.samestat(*found)

    def _brings(self, place: str, path: str) -> bool:
        """Return whether the archive has everything for one directory that it has for another one."""
        with closing(self._volumes.new(place)) as there, closing(self._volumes.new(path)) as new:
            with os.scandir(new) as coming:
                for entry in coming:
                    if entry.is_dir(follow_symlinks=False) and is_directory(entry.name, there):
                        same = self._brings(joined(place, entry.name), joined(path, entry.name))
                    else:
                        same = is_same(entry.name, there, new)
                    if not same:
                        return False
        return True

    def _mounted(self, path: str, reason: str | None = None) -> JobError:
        reason = reason or self._reasons.get(path)
        at = path if path in self._kept.mounts or path not in self._kept.bound else self._kept.bound[path][0]
        place = f"{at[:SHOWN]} ({reason})" if reason else at[:SHOWN]
        what = "another file system is mounted at" if at == path else "it is mounted elsewhere, too, at"
        return JobError(f"{_shown(path)} cannot be restored: {what} {place}")


def _differs(path: str, twin: str) -> JobError:
    what = f"it is the same as {_shown(twin)}, for which the archive has something else"
    return JobError(f"{_shown(path)} cannot be restored: {what}")


def _shown(path: str) -> str:
    return f"{path[:SHOWN]!a}"


def _opened(name: str, parent: int) -> AbstractContextManager[int]:
    return closing(os.open(name, DIRECTORY, dir_fd=parent))


def _is_empty(name: str, parent: int) -> bool:
    with _opened(name, parent) as descriptor:
        return is_empty(descriptor)


def _time(pair: _Pair) -> int | None:
    """Return the modification time of the directory in the new tree, if it is listed and a member of the archive."""
    if pair.new is None or not pair.covered or not pair.path:
        return None
    status = os.fstat(pair.new)
    return None if status.st_mode & IMPLIED else max(-MAX_TIME, min(status.st_mtime_ns, MAX_TIME))

"""Replacing the old tree with the restored one, atomically.

The new tree is complete, in directories of its own on the same file systems, before a plan lists the renames to make.
Once the journal records that the plan is complete, they are made: by the job, or by the process that finds the journal
after a kill. If one of them fails, all are rolled back.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance, JobError
from jidoteki.hookspecs.mounts import bound_below, mounts_below
from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.plugins.backup import journal as journals
from jidoteki.plugins.backup import narrowed_access
from jidoteki.plugins.backup import staging as stagings
from jidoteki.plugins.backup.descriptors import closing
from jidoteki.plugins.backup.directory_metadata import Dressing
from jidoteki.plugins.backup.error_messages import about, reason
from jidoteki.plugins.backup.journal import DamagedJournalError, Entry, Journal
from jidoteki.plugins.backup.plan_lines import Line, Tell, components
from jidoteki.plugins.backup.renames import Renames
from jidoteki.plugins.backup.volumes import MAIN, VolumeAbsentError, Volumes, is_mounted

SYNC_TIMEOUT: Final = 600.0
MAX_TOLD: Final = 100


@contextmanager
def opened_data(appliance: Appliance) -> Iterator[int]:
    """Open the data directory in a `with` block.

    :raises OSError: it is missing, or cannot be entered.
    """
    with closing(os.open(appliance.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
        yield descriptor


def commit(journal: Journal, volumes: Volumes, lines: Iterable[Line], tell: Tell) -> None:
    """Carry out the lines of a plan.

    :raises OSError: nothing was changed; or the rollback failed, too, and `finish_all` must be called again later.
    """
    count = journal.write_plan(lines)
    _sync(volumes)
    try:
        entry = journal.plan(count)
    except BaseException:
        _forget(journal)
        raise
    failure = _carry_out(journal, volumes, entry, tell)
    if failure:
        raise failure


def finish_all(appliance: Appliance, tell: Tell, without: bool = False) -> list[str]:
    """Complete killed restores; running ones are left alone.

    :param without: whether to complete them without file systems that are not mounted now; else they wait for those.
    :param tell: called with a message for each that cannot be completed, and for invalid journals.
    :return: the ids of completed ones.
    :raises OSError: one can neither be completed nor rolled back now.
    """
    complete = []
    for journal, entry in journals.abandoned(appliance, tell):
        is_done = entry.done if entry.plan is None else _finish(appliance, journal, entry, tell, without)
        if is_done:
            complete.append(journal.id)
    return complete


def is_unfinished(appliance: Appliance) -> bool:
    """Return whether a restore that has ended must still be completed or removed."""
    return any(True for _ in journals.abandoned(appliance, lambda text: None))


def check_finished(appliance: Appliance) -> None:
    """Check that no interrupted restore is incomplete.

    :raises JobError: one is, and the data are half restored.
    """
    for id in journals.unfinished(appliance):
        raise JobError(f"The data are half restored: {id} was interrupted, and is still to be completed")


def remove_all(appliance: Appliance, tell: Tell) -> None:
    """Remove the leftovers of killed restores, except those that must still be completed."""
    for journal, entry in journals.abandoned(appliance, tell):
        if entry.plan is None or entry.back:
            _remove(appliance, journal, entry)


def discard(appliance: Appliance, journal: Journal, tell: Tell = lambda text: None) -> None:
    """Remove the leftovers of a restore, unless it must still be completed; the data are not changed.

    :param tell: called with a message for what cannot be removed within the time limit.
    """
    with suppress(DamagedJournalError):
        entry = journal.read()
        if entry and (entry.plan is None or entry.back):
            _remove(appliance, journal, entry)
            if entry.plan is None and journal.read():
                tell(f"{entry.staging} in {appliance.data} cannot be removed now: the next restore or start does it")


def _remove(appliance: Appliance, journal: Journal, entry: Entry) -> None:
    with suppress(OSError), opened_data(appliance) as data:
        mounts = mounts_below(appliance.data)
        done = [path for path in entry.paths if path not in entry.back]
        gone = [_remove_on(data, path, entry, mounts) for path in done]
        if all(gone) and not entry.back:
            journal.remove()


def _remove_on(data: int, path: str, entry: Entry, mounts: Collection[str]) -> bool:
    """Remove the restore directory on a file system; return whether it is gone, and not only unmounted."""
    try:
        with closing(directory_beneath(data, components(path))) as top:
            gone = stagings.remove(top, entry, mounted=path != MAIN)
            return gone and (path == MAIN or is_mounted(data, path, mounts))
    except OSError:
        return False


def _finish(appliance: Appliance, journal: Journal, entry: Entry, tell: Tell, without: bool) -> bool:
    with ExitStack() as opened:
        try:
            volumes = Volumes(opened.enter_context(opened_data(appliance)), opened)
            volumes.find(entry, without or bool(entry.back))
        except FileNotFoundError:
            tell(f"{journal.id} cannot be completed now: there is no {appliance.data}")
            return False
        except VolumeAbsentError as absent:
            place = appliance.data / absent.path
            tell(f"{journal.id} cannot be completed now: its directory {entry.staging} is not in {place}")
            return False
        failure = _carry_out(journal, volumes, entry, tell)
        if entry.back and not volumes.absent:
            tell(f"What {journal.id} had changed before it failed is taken back")
        if isinstance(failure, OSError):
            data = "all else is as it was" if volumes.absent else "the data are as they were"
            tell(f"{journal.id} cannot be completed, and {data} before it: {reason(failure)}")
        elif failure:
            raise failure
        return not (failure or entry.back or volumes.absent)


def _carry_out(journal: Journal, volumes: Volumes, entry: Entry, tell: Tell) -> BaseException | None:
    """Make the renames; if one of them fails, roll back all of them and return the error.

    :raises OSError: they cannot be rolled back now.
    """
    assert entry.plan is not None
    data = Path(f"/proc/self/fd/{volumes.data}")
    renames = Renames(volumes, mounts_below(data), bound_below(data))
    failure = None if entry.back else _make(journal, renames, volumes, entry, tell)
    stuck = _take_back(journal, renames, volumes, entry.plan, tell) if failure or entry.back else {}
    _sync(volumes)  # before the journal is removed, which could repeat them
    for path in volumes.absent.difference(entry.back):
        tell(f"{path} is not mounted: what a restore that was interrupted had for it is not put there")
    if stuck or volumes.absent:
        _keep(journal, entry, {*volumes.absent, *renames.lost}, stuck, tell)
    else:
        _forget_plan(journal, renames, volumes, entry.plan, not (failure or entry.back), tell)
    if stuck:
        raise next(iter(stuck.values()))
    return failure


def _make(journal: Journal, renames: Renames, volumes: Volumes, entry: Entry, tell: Tell) -> BaseException | None:
    """Make the renames; if one fails, record in the journal that they are to be rolled back, and return the error."""
    assert entry.plan is not None
    dressing = Dressing(volumes, tell)
    try:
        for number, line in _present(journal, volumes, entry.plan):
            with about(line.directory):
                narrowed_access.narrow(volumes, number, line)
        for number, line in _present(journal, volumes, entry.plan):
            renames.make(number, line)
        for _, line in _present(journal, volumes, entry.plan):
            dressing.dress(line)
        dressing.end()
    except BaseException as error:
        with suppress(OSError, DamagedJournalError):
            journal.plan(entry.plan, entry.paths)
        return error
    return None


def _keep(journal: Journal, entry: Entry, more: Collection[str], stuck: Mapping[str, OSError], tell: Tell) -> None:
    """Record in the journal on which file systems the renames must still be rolled back."""
    later = "be, with what was written over it since,"
    try:
        journal.plan(entry.plan, {*stuck, *more})
    except OSError:
        if not stuck:
            raise
        later = "be, or be completed,"
    for path, error in stuck.items():
        what = f"What a failed restore changed in {path or 'the data'}"
        tell(f"{what} cannot be taken back now ({reason(error)}): it will {later} as soon as possible")


def _forget_plan(journal: Journal, renames: Renames, volumes: Volumes, count: int, is_done: bool, tell: Tell) -> None:
    """Record in the journal that nothing is left to do; or remove it, to keep entries that could not be restored.

    :param is_done: whether the plan was carried out; else it was rolled back.
    """
    kept = list(islice(_kept(journal, renames, volumes, count), MAX_TOLD)) if renames.lost else []
    for target, place in kept:
        tell(f"The place of {target} was removed while it was restored: what was there is kept in {place}")
    if kept:
        journal.remove()
    else:
        journal.plan(None, done=is_done)


def _present(journal: Journal, volumes: Volumes, count: int, backwards: bool = False) -> Iterator[tuple[int, Line]]:
    """Yield the numbered lines of the plan for file systems that are present."""
    return (each for each in journal.lines(count, backwards) if volumes.has(each[1].directory))


def _take_back(journal: Journal, renames: Renames, volumes: Volumes, count: int, tell: Tell) -> dict[str, OSError]:
    """Roll back as much as possible, the last first; return errors by the path of the file system."""
    stuck: dict[str, OSError] = {}
    for number, line in _present(journal, volumes, count, backwards=True):
        try:
            renames.take_back(number, line)
        except OSError as error:
            stuck.setdefault(volumes.of(line.directory).path, error)
    for number, line in _present(journal, volumes, count):
        path = volumes.of(line.directory).path
        if path not in stuck:
            try:
                narrowed_access.take_back(volumes, number, line)
            except OSError as error:
                stuck[path] = error
    return stuck


def _kept(journal: Journal, renames: Renames, volumes: Volumes, count: int) -> Iterator[tuple[str, str]]:
    for number, line in _present(journal, volumes, count):
        yield from renames.kept(number, line)


def _forget(journal: Journal) -> None:
    """Cancel or remove a journal that may not have been written."""
    try:
        entry = journal.read()
        if entry and entry.plan is not None:
            journal.plan(None)
    except (OSError, DamagedJournalError):
        with suppress(OSError):
            journal.remove()


def _sync(volumes: Volumes) -> None:
    """Sync whole file systems: much faster than file by file."""
    for volume in volumes:
        _sync_file_system(volume.top)


def _sync_file_system(descriptor: int) -> None:
    try:
        subprocess.run(
            ["sync", "-f", "/dev/stdin"], check=True, timeout=SYNC_TIMEOUT, capture_output=True, stdin=descriptor
        )
    except (OSError, subprocess.SubprocessError):
        os.sync()

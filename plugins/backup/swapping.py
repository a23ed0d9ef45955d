"""Putting a restored tree in place of the old one, all of it or nothing.

The new tree is complete, in a directory of its own on the same file system, before a plan lists the renames to make.
From the moment the journal says that the plan is complete they are made: by the job, or by whoever finds the journal
after it was killed. When one of them is impossible, all are taken back.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance
from jidoteki.hookspecs.mounts import mounts_below
from jidoteki.plugins.backup import journal as journals
from jidoteki.plugins.backup import staging as stagings
from jidoteki.plugins.backup.dressing import Dressing
from jidoteki.plugins.backup.journal import Damaged, Entry, Journal
from jidoteki.plugins.backup.plans import Line, Tell
from jidoteki.plugins.backup.renames import Renames
from jidoteki.plugins.backup.staging import NEW, Staging

SYNC_TIME: Final = 600.0
MAX_TOLD: Final = 100


@contextmanager
def opened_data(appliance: Appliance) -> Iterator[int]:
    """Open the data directory.

    :raises OSError: it is missing, or cannot be entered.
    """
    descriptor = os.open(appliance.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def commit(journal: Journal, data: int, staging: Staging, lines: Iterable[Line], tell: Tell) -> None:
    """Do what the lines of a plan say.

    :raises OSError: nothing was changed, or, when even that is impossible, `finish_all` has to be tried again later.
    """
    count = journal.write_plan(lines)
    _sync_file_system(staging.descriptor)
    try:
        journal.plan(count)
    except BaseException:
        _forget(journal)
        raise
    failure = _carry_out(journal, data, staging, count, tell)
    if failure:
        raise failure


def finish_all(appliance: Appliance, tell: Tell) -> None:
    """Complete what killed restores began to swap, and leave alone those that live.

    :param tell: told of what cannot be completed, and of journals that are not followed.
    :raises OSError: one can neither be completed nor taken back now.
    """
    for journal, entry in journals.abandoned(appliance, tell):
        if entry.plan is not None:
            _finish(appliance, journal, entry, entry.plan, tell)


def is_unfinished(appliance: Appliance) -> bool:
    """Whether a killed restore is still to be completed."""
    return any(entry.plan is not None for _, entry in journals.abandoned(appliance, lambda text: None))


def remove_all(appliance: Appliance, tell: Tell) -> None:
    """Remove what killed restores left, but not what still has to be completed."""
    for journal, entry in journals.abandoned(appliance, tell):
        if entry.plan is None:
            _remove(appliance, journal, entry)


def discard(appliance: Appliance, journal: Journal) -> None:
    """Remove all that is left of a restore, unless it still has to be completed. What was swapped stays so."""
    with suppress(Damaged):
        entry = journal.read()
        if entry and entry.plan is None:
            _remove(appliance, journal, entry)


def _remove(appliance: Appliance, journal: Journal, entry: Entry) -> None:
    with suppress(OSError), opened_data(appliance) as data:
        if stagings.remove(data, entry):
            journal.remove()


def _finish(appliance: Appliance, journal: Journal, entry: Entry, count: int, tell: Tell) -> None:
    with ExitStack() as opened:
        staging = None
        with suppress(FileNotFoundError):
            data = opened.enter_context(opened_data(appliance))
            staging = stagings.find(data, entry)
        if staging is None:
            tell(f"{journal.id} cannot be completed now: its directory {entry.staging} is not in {appliance.data}")
            return
        opened.enter_context(staging)
        failure = _carry_out(journal, data, staging, count, tell)
        if isinstance(failure, OSError):
            tell(f"{journal.id} cannot be completed, and the data are as they were before it: {failure.strerror}")
        elif failure:
            raise failure


def _carry_out(journal: Journal, data: int, staging: Staging, count: int, tell: Tell) -> BaseException | None:
    """Make the renames; when one of them is impossible, take back all of them and return why.

    :raises OSError: they cannot be taken back now.
    """
    failure: BaseException | None = None
    with ExitStack() as opened:
        renames = Renames(data, staging, opened, mounts_below(Path(f"/proc/self/fd/{data}")))
        try:
            for number, line in enumerate(journal.lines(count)):
                renames.make(number, line)
            _dress(journal, data, staging, count, tell)
        except BaseException as error:
            failure = error
            _take_back(journal, renames, count)
        _sync_file_system(data)  # before the journal goes that could repeat them
        kept = list(islice(_kept(journal, renames, count), MAX_TOLD)) if renames.lost else []
        for target, place in kept:
            tell(f"The place of {target} was removed while it was restored: what was there is kept in {place}")
        if kept:
            journal.remove()
        else:
            journal.plan(None)
    return failure


def _dress(journal: Journal, data: int, staging: Staging, count: int, tell: Tell) -> None:
    with staging.opened(NEW) as new:
        dressing = Dressing(data, new, tell)
        for line in journal.lines(count):
            dressing.dress(line)
        dressing.end()


def _take_back(journal: Journal, renames: Renames, count: int) -> None:
    """Take back all that is possible.

    :raises OSError: something is not possible now.
    """
    failure = None
    for number, line in enumerate(journal.lines(count)):
        try:
            renames.take_back(number, line)
        except OSError as error:
            failure = error
    if failure:
        raise failure


def _kept(journal: Journal, renames: Renames, count: int) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(journal.lines(count)):
        yield from renames.kept(number, line)


def _forget(journal: Journal) -> None:
    """See to it that nobody acts on a journal that may not have been written."""
    try:
        entry = journal.read()
        if entry and entry.plan is not None:
            journal.plan(None)
    except (OSError, Damaged):
        with suppress(OSError):
            journal.remove()


def _sync_file_system(descriptor: int) -> None:
    """Make everything on a file system durable at once: much faster than file by file."""
    try:
        subprocess.run(
            ["sync", "-f", "/dev/stdin"], check=True, timeout=SYNC_TIME, capture_output=True, stdin=descriptor
        )
    except (OSError, subprocess.SubprocessError):
        os.sync()

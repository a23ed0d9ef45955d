"""The check of `backup.txt`, and of the data that it lists, by `jidoteki check`."""

from __future__ import annotations

import errno
import os
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance, Finding, JobError, rooted
from jidoteki.plugins.backup import backup_list

FAILS: Final = "every backup and restore fails"
PATHS: Final = "List paths below {} in it, one a line; a line with a single dot means all of it."
#: Seconds for the data to answer: a file server that is gone lets everybody wait.
PATIENCE: Final = 5.0
#: What a look at data that are there may say: there are none yet, or only root sees them.
_USUAL: Final = (errno.ENOENT, errno.EACCES)


def check(appliance: Appliance) -> Iterator[Finding]:
    """Yield the error that makes every backup and restore fail, or what is wrong with the list."""
    problem = _problem_of(appliance.data)
    if problem:
        advice = f"See what is mounted there, and whether that is reached: findmnt {shlex.quote(str(appliance.data))}"
        yield Finding("error", "backup", f"{FAILS}: {problem}", advice, str(appliance.data))
        return
    path = appliance.etc / backup_list.NAME
    if appliance.keys != appliance.etc:  # root makes backups here
        found = list(_list_of_roots(appliance, path, appliance.keys / backup_list.NAME))
        if found:
            yield from found
            return
    try:
        backup_list.selection(appliance)
    except JobError as error:
        advice = PATHS.format(appliance.data)
        yield Finding("error", "backup", f"{FAILS}: {error}", advice, str(path))


def _problem_of(data: Path) -> str | None:
    """Return why nothing can be read in a directory, be it that nobody answers."""
    said: list[str | None] = []

    def look() -> None:
        try:
            with os.scandir(data) as entries:
                next(entries, None)
        except OSError as error:
            said.append(None if error.errno in _USUAL else error.strerror)
        else:
            said.append(None)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return said[0] if said else f"there was no answer within {PATIENCE:g} seconds"


def _list_of_roots(appliance: Appliance, path: Path, its: Path) -> Iterator[Finding]:
    """Check that the list by which root goes is root's, and the one that the service sees.

    :param path: where the service looks.
    :param its: where root does.
    """
    try:
        rooted.require(its)
    except OSError as error:
        message = f"{FAILS}, for root goes by this list, which it alone may change: {error.strerror}"
        advice = f"Let root own it, and {path} be a link to it."
        if isinstance(error, FileNotFoundError):
            advice = f"{PATHS.format(appliance.data)} Then run: jidoteki provision, which links {path} to it."
        yield Finding("error", "backup", message, advice, str(its))
        return
    if not os.path.lexists(path):
        message = f"there is no such link to {its}, by which root goes"
        yield Finding("warning", "backup", message, "Run: jidoteki provision, which makes it.", str(path))
    elif not os.access(its, os.R_OK):
        message = "the service cannot read it, so that nothing is checked here"
        yield Finding("warning", "backup", message, f"Run: chmod go+r {shlex.quote(str(its))}", str(its))
    elif not _is_same(path, its):
        advice = f"Remove it and run: jidoteki provision, which links it to {its}."
        yield Finding("warning", "backup", f"it counts for nothing: root goes by {its}", advice, str(path))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False

"""The check of `backup.txt` by `jidoteki check`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance, Finding, JobError, rooted
from jidoteki.plugins.backup import backup_list

FAILS: Final = "every backup and restore fails"


def check(appliance: Appliance) -> Iterator[Finding]:
    """Yield the error that makes every backup and restore fail, or what is wrong with the list."""
    path = appliance.etc / backup_list.NAME
    if appliance.keys != appliance.etc:  # root makes backups here
        found = list(_list_of_roots(path, appliance.keys / backup_list.NAME))
        if found:
            yield from found
            return
    try:
        backup_list.selection(appliance)
    except JobError as error:
        advice = f"List paths below {appliance.data}, one a line; a line with a single dot means all of it."
        yield Finding("error", "backup", f"{FAILS}: {error}", advice, str(path))


def _list_of_roots(path: Path, its: Path) -> Iterator[Finding]:
    """Check that the list by which root goes is root's, and the one that the service sees.

    :param path: where the service looks.
    :param its: where root does.
    """
    try:
        rooted.require(its)
    except OSError as error:
        message = f"{FAILS}, for root goes by this list, which it alone may change: {error.strerror}"
        yield Finding("error", "backup", message, f"Let root own it, and {path} be a link to it.", str(its))
        return
    if not _is_same(path, its):
        yield Finding(
            "warning", "backup", f"it counts for nothing: root goes by {its}", f"Link it to {its}.", str(path)
        )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False

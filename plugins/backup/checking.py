"""The check of `backup.txt` by `jidoteki check`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jidoteki.hookspecs import Appliance, Finding, JobError, rooted
from jidoteki.plugins.backup import backup_list


def check(appliance: Appliance) -> Iterator[Finding]:
    """Yield the error that makes every backup and restore fail."""
    fails, path = "every backup and restore fails", appliance.etc / backup_list.NAME
    try:
        backup_list.selection(appliance)
    except JobError as error:
        advice = f"List paths below {appliance.data}, one a line; a line with a single dot means all of it."
        yield Finding("error", "backup", f"{fails}: {error}", advice, str(path))
        return
    if not _are_roots(appliance):
        return
    list_of_roots = appliance.admin / "keys" / backup_list.NAME
    try:
        rooted.require(list_of_roots)
    except OSError as error:
        advice = f"Let root own {list_of_roots}, and {path} be a link to it."
        message = f"{fails}, for root goes by a list that root alone may change: {error.strerror}"
        yield Finding("error", "backup", message, advice, str(list_of_roots))
        return
    if not _is_same(path, list_of_roots):
        message = f"it counts for nothing: root goes by {list_of_roots}"
        yield Finding("warning", "backup", message, "Make it a link to that.", str(path))


def _are_roots(appliance: Appliance) -> bool:
    """Return whether root makes backups here, in units of its own."""
    configuration = appliance.read_json(appliance.system_etc / "jidoteki-admin-api.json")
    jobs = configuration.get("jobs") if isinstance(configuration, dict) else None
    return isinstance(jobs, dict) and jobs.get("run-as") == "unit"


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False

"""The check of `backup.txt` by `jidoteki check`."""

from __future__ import annotations

from collections.abc import Iterator

from jidoteki.hookspecs import Appliance, Finding, JobError
from jidoteki.plugins.backup import backup_list


def check(appliance: Appliance) -> Iterator[Finding]:
    """Yield the error that makes every backup and restore fail."""
    try:
        backup_list.selection(appliance)
    except JobError as error:
        advice = f"List paths below {appliance.data}, one a line; a line with a single dot means all of it."
        yield Finding(
            "error", "backup", f"every backup and restore fails: {error}", advice, str(appliance.etc / "backup.txt")
        )

"""What `jidoteki check` finds in `backup.txt` that makes every backup fail."""

from __future__ import annotations

from collections.abc import Iterator

from jidoteki.hookspecs import Appliance, Finding, JobFailed
from jidoteki.plugins.backup import listed


def check(appliance: Appliance) -> Iterator[Finding]:
    """Yield why no backup can be made, and no restore."""
    try:
        listed.selection(appliance)
    except JobFailed as error:
        advice = f"List paths below {appliance.data}, one a line; a line with a single dot means all of it."
        yield Finding(
            "error", "backup", f"every backup and restore fails: {error}", advice, str(appliance.etc / "backup.txt")
        )

"""Checks of what the last jobs left behind."""

from __future__ import annotations

from collections.abc import Iterator

from jidoteki.core.jobs import listing
from jidoteki.core.jobs.launch import Launcher
from jidoteki.hookspecs import Finding, trials


def check(launcher: Launcher) -> Iterator[Finding]:
    """Check whether a change failed and could not be put back either."""
    for record in listing.put_back(launcher):
        if record.error_code == trials.LOST:
            message = f"{record.id} ended with {record.error_code}: {record.error_message}"
            log = launcher.records.log(record.id)
            advice = f"Put right what {log} names; this is told until a later job of type {record.type} succeeds."
            yield Finding("error", "job", message, advice)

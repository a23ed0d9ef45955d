"""Checks of what the last jobs left behind."""

from __future__ import annotations

from collections.abc import Iterator

from jidoteki.core.jobs import listing
from jidoteki.core.jobs.launch import Launcher
from jidoteki.hookspecs import Finding, trials


def check(launcher: Launcher) -> Iterator[Finding]:
    """Check whether a change failed and could not be put back either, or left something half done."""
    for record in listing.last_failed(launcher):
        if not record.unrecovered and record.error_code != trials.LOST:
            continue
        message = f"{record.id} ended with {record.error_code}: {record.error_message}"
        advice = "Restart the service, which tries that again: systemctl restart jidoteki-admin-api"
        if not record.unrecovered:
            log = launcher.records.log(record.id)
            advice = f"Put right what {log} names; this is told until a later job of type {record.type} succeeds."
        yield Finding("error", "job", message, advice)

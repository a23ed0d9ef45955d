"""What a monitoring system is told of the backup."""

from __future__ import annotations

from collections.abc import Iterator

from jidoteki.hookspecs import Appliance, Metric, Sample
from jidoteki.plugins.backup import stored_backup


def metrics(appliance: Appliance) -> Iterator[Metric]:
    """When the backup that is there was made, and its size; nothing where there is none."""
    facts = stored_backup.status(appliance)
    try:
        status = stored_backup.shown(appliance).lstat()
    except OSError:
        return
    if facts and facts.get("status") == "success":
        made, size = [Sample(status.st_mtime)], [Sample(status.st_size)]
        yield Metric("jidoteki_backup_timestamp_seconds", "gauge", "When the backup that is there was made.", made)
        yield Metric("jidoteki_backup_size_bytes", "gauge", "How large the backup is that is there.", size)

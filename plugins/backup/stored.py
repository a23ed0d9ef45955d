"""The backup that lies in the uploads directory, and `backup.json`, which says how the last one went.

The description is written before the archive takes its name and goes after it: an archive always has its description.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance
from jidoteki.plugins.backup.locking import remove_abandoned
from jidoteki.plugins.backup.sink import Packed

PARTIAL: Final = ".jidoteki-backup-"
"""How the name of an archive begins that is being written; the host clears such names away too."""
_UNITS: Final = "KMGTPE"


def archive(appliance: Appliance) -> Path:
    """The backup."""
    return appliance.uploads / "backup.tar"


def _description(appliance: Appliance) -> Path:
    return appliance.uploads / "backup.json"


def status(appliance: Appliance) -> dict[str, Any] | None:
    """How the last backup went: `status` with `filesize` and `sha256`, or with `error-message`; None for no backup."""
    facts = appliance.read_json(_description(appliance))
    if not isinstance(facts, dict):
        return None
    if facts.get("status") == "failed":
        return {name: str(facts.get(name, "")) for name in ("status", "error-message")}
    if not _matches(archive(appliance), facts):
        return None
    return {name: str(facts.get(name, "")) for name in ("status", "filesize", "sha256")}


def _matches(path: Path, facts: dict[str, Any]) -> bool:
    try:
        return path.stat().st_size == facts.get("size")
    except OSError:
        return False


def store(appliance: Appliance, partial: Path, packed: Packed) -> str:
    """Make a complete archive the backup.

    :return: its size for people.
    :raises OSError: that is impossible.
    """
    shown = human_size(packed.size)
    facts = {"status": "success", "filesize": shown, "sha256": packed.sha256, "size": packed.size}
    appliance.replace_file(_description(appliance), json.dumps(facts) + "\n")
    partial.rename(archive(appliance))
    descriptor = os.open(appliance.uploads, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return shown


def record_failure(appliance: Appliance, message: str) -> None:
    """Say why there is no backup.

    :raises OSError: that cannot be written.
    """
    content = json.dumps({"status": "failed", "error-message": message}) + "\n"
    appliance.replace_file(_description(appliance), content)


def exists(appliance: Appliance) -> bool:
    """Whether there is anything to delete."""
    return archive(appliance).exists() or _description(appliance).exists()


def delete(appliance: Appliance) -> None:
    """Delete the backup, its description, and what dead processes left of others.

    :raises OSError: that is impossible.
    """
    archive(appliance).unlink(missing_ok=True)
    _description(appliance).unlink(missing_ok=True)
    remove_partial(appliance)


def remove_partial(appliance: Appliance) -> None:
    """Remove archives that dead processes did not complete."""
    remove_abandoned(appliance.uploads, f"{PARTIAL}*")


def human_size(size: int) -> str:
    """A size in the style of `du -h`, such as `128.0K`.

    :param size: bytes.
    """
    value, unit = max(1.0, size / 1024), 0
    while round(value, 1) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{_UNITS[unit]}"

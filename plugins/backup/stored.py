"""The backup in the spool, and `backup.json` there, which says how the last one went.

The description is written before the archive takes its name and goes after it: an archive always has its description.
The uploads directory shows both to tools that look for them there, as far as nothing is in the way; they are never read
back from it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance
from jidoteki.hookspecs.paths import read_regular
from jidoteki.plugins.backup.locking import remove_abandoned
from jidoteki.plugins.backup.sink import Packed

PARTIAL: Final = ".jidoteki-backup-"
"""How the name of an archive begins that is being written; the host clears such names away too."""
ARCHIVE: Final = "backup.tar"
DESCRIPTION: Final = "backup.json"
MAX_DESCRIPTION: Final = 64 * 1024
_UNITS: Final = "KMGTPE"

_SIZE: Final = vol.All(int, vol.Range(min=0))
_FACTS: Final = vol.Schema(
    vol.Any(
        {vol.Required("status"): "failed", vol.Required("error-message"): str},
        {
            vol.Required("status"): "success",
            vol.Required("filesize"): vol.All(str, vol.Match(re.compile(rf"[0-9]+\.[0-9][{_UNITS}]\Z"))),
            vol.Required("sha256"): vol.All(str, vol.Match(re.compile(r"[0-9a-f]{64}\Z"))),
            vol.Required("size"): _SIZE,
        },
    )
)


def archive(appliance: Appliance) -> Path:
    """The backup."""
    return appliance.spool / ARCHIVE


def shown(appliance: Appliance) -> Path:
    """Where the backup is to be found by tools: in the uploads directory, if it can be shown there."""
    path = appliance.uploads / ARCHIVE
    return path if path.is_file() and not path.is_symlink() else archive(appliance)


def _description(appliance: Appliance) -> Path:
    return appliance.spool / DESCRIPTION


def status(appliance: Appliance) -> dict[str, Any] | None:
    """How the last backup went: `status` with `filesize` and `sha256`, or with `error-message`; None for no backup."""
    try:
        facts: dict[str, Any] = _FACTS(json.loads(read_regular(_description(appliance), MAX_DESCRIPTION)))
    except (OSError, ValueError, RecursionError, vol.Invalid):
        return None
    if facts["status"] == "success" and not _has_size(archive(appliance), facts.pop("size")):
        return None
    return facts


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.lstat().st_size == size
    except OSError:
        return False


def store(appliance: Appliance, partial: Path, packed: Packed) -> str:
    """Make a complete archive the backup.

    :return: its size for people.
    :raises OSError: that is impossible.
    """
    size = human_size(packed.size)
    content = _text({"status": "success", "filesize": size, "sha256": packed.sha256, "size": packed.size})
    appliance.replace_file(_description(appliance), content, mode=0o600)
    appliance.publish(partial, ARCHIVE)
    descriptor = os.open(appliance.spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _publish(appliance, content)
    return size


def record_failure(appliance: Appliance, message: str) -> None:
    """Say why there is no backup.

    :raises OSError: that cannot be written.
    """
    _publish(appliance, _text({"status": "failed", "error-message": message}))


def _publish(appliance: Appliance, content: str) -> None:
    partial = appliance.spool / f"{PARTIAL}{secrets.token_hex(8)}"
    try:
        appliance.replace_file(partial, content, mode=0o600)
        appliance.publish(partial, DESCRIPTION)
    finally:
        partial.unlink(missing_ok=True)


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts) + "\n"


def exists(appliance: Appliance) -> bool:
    """Whether there is anything to delete."""
    return os.path.lexists(archive(appliance)) or os.path.lexists(_description(appliance))


def delete(appliance: Appliance) -> None:
    """Delete the backup, its description, and what dead processes left of others.

    :raises OSError: that is impossible.
    """
    appliance.withdraw(ARCHIVE)
    appliance.withdraw(DESCRIPTION)
    remove_partial(appliance)


def remove_partial(appliance: Appliance) -> None:
    """Remove archives that dead processes did not complete."""
    remove_abandoned(appliance.spool, f"{PARTIAL}*")


def human_size(size: int) -> str:
    """A size in the style of `du -h`, such as `128.0K`.

    :param size: bytes.
    """
    value, unit = max(1.0, size / 1024), 0
    while round(value, 1) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{_UNITS[unit]}"

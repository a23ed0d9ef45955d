"""The backup in the spool, and `backup.json` beside it, which describes the last one.

The description is written before the archive is renamed, and removed after it: an archive always has its description.
Copies of both are put into the uploads directory for tools that look there, if nothing is in the way. These are never
read back; files that others write in their place are (see `foreign`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance
from jidoteki.hookspecs.paths import open_regular, read_regular, sync_directory
from jidoteki.plugins.backup import foreign_backups, own_backups
from jidoteki.plugins.backup.archive_file import Packed
from jidoteki.plugins.backup.foreign_backups import ARCHIVE, DESCRIPTION
from jidoteki.plugins.backup.locking import remove_abandoned
from jidoteki.plugins.backup.sizes import human_size

PARTIAL: Final = ".jidoteki-backup-"
"""The prefix of the names of incomplete archives; the host removes such files, too."""
MAX_DESCRIPTION: Final = 4 * 1024 * 1024
RUNNING: Final = {"status": "running"}
BEING_MADE: Final = "The backup is being made"
INTERRUPTED: Final = "The backup ended unexpectedly: it was killed, or the power failed"
_MAX_SHOWN: Final = 1024
"""Characters of a name in the description, which may list hundreds of them."""

_COUNT: Final = vol.All(int, vol.Range(min=0))
_FACTS: Final = vol.Schema(
    vol.Any(
        {vol.Required("status"): "running"},
        {vol.Required("status"): "failed", vol.Required("error-message"): str},
        {
            vol.Required("status"): "success",
            vol.Required("filesize"): vol.All(str, vol.Match(re.compile(r"[0-9]+(\.[0-9])?[KMGTPE]?\Z"))),
            vol.Required("sha256"): vol.All(str, vol.Match(re.compile(r"[0-9a-f]{64}\Z"))),
            "size": _COUNT,
            "missing": [str],
            "incomplete": [str],
            "incomplete-count": _COUNT,
        },
    )
)


class NoBackupError(Exception):
    """A missing backup; the message is the reason."""


def archive(appliance: Appliance) -> Path:
    """Return the path of the backup."""
    return appliance.spool / ARCHIVE


def shown(appliance: Appliance) -> Path:
    """Return the path of the backup for other tools: in the uploads directory, if there is a copy."""
    path = appliance.uploads / ARCHIVE
    return path if path.is_file() and not path.is_symlink() else archive(appliance)


def _description(appliance: Appliance) -> Path:
    return appliance.spool / DESCRIPTION


def status(appliance: Appliance) -> dict[str, Any] | None:
    """Return the description of the last backup by any tool: `status`, with `filesize`, `sha256`, or `error-message`.

    None is returned if there is none. Call it while the service makes none.
    """
    return _foreign(appliance) or _ended(appliance)


def is_interrupted(appliance: Appliance) -> bool:
    """Return whether a backup of the service has neither succeeded nor failed; call it when none runs."""
    facts = _own(appliance)
    return facts is None or facts == RUNNING


def _foreign(appliance: Appliance) -> dict[str, Any] | None:
    since = max(foreign_backups.modified(_description(appliance)), foreign_backups.last_withdrawn(appliance))
    return foreign_backups.description(appliance, since)


def _own(appliance: Appliance) -> dict[str, Any] | None:
    try:
        facts: dict[str, Any] = _FACTS(json.loads(read_regular(_description(appliance), MAX_DESCRIPTION)))
    except (OSError, ValueError, RecursionError, vol.Invalid):
        return None
    if facts["status"] == "success" and not _has_size(archive(appliance), facts.pop("size", None)):
        return None
    return facts


def _ended(appliance: Appliance) -> dict[str, Any] | None:
    """What the service's own last backup says, which has ended: none makes one now."""
    facts = _own(appliance)
    return {"status": "failed", "error-message": INTERRUPTED} if facts == RUNNING else facts


def _has_size(path: Path, size: int | None) -> bool:
    try:
        return path.lstat().st_size == size or size is None
    except OSError:
        return False


def open_archive(appliance: Appliance) -> IO[bytes]:
    """Open the archive that `status` describes; without a description, another tool's.

    Call it while the service makes none.
    After a backup that failed before it removed the previous one, that can still be downloaded.

    :raises NoBackupError: there is none.
    """
    facts, is_foreign = _foreign(appliance), True
    if facts is None:
        facts, is_foreign = _ended(appliance), False
    status = facts["status"] if facts else None
    if status == "running":
        raise NoBackupError(BEING_MADE)
    file = _open_own(appliance) if facts and not is_foreign else None
    if file is None and not (is_foreign and status == "failed"):
        file = foreign_backups.archive(appliance, foreign_backups.last_withdrawn(appliance))
    if file:
        return file
    if facts and status == "failed":
        reason = facts.get("error-message")
        raise NoBackupError(f"There is no backup, for the last one failed{f': {reason}' if reason else ''}")
    raise NoBackupError("There is no backup: make one with POST /backup and action=START")


def _open_own(appliance: Appliance) -> IO[bytes] | None:
    try:
        return open(open_regular(archive(appliance)), "rb", buffering=0)
    except OSError:
        return None


def store(appliance: Appliance, partial: Path, packed: Packed, told: Mapping[str, Any]) -> str:
    """Publish a complete archive as the backup.

    :param told: further keys of its description.
    :return: its human-readable size.
    :raises OSError: it cannot be published.
    """
    size = human_size(packed.on_disk)
    content = _text({"status": "success", "filesize": size, "sha256": packed.sha256, **told})
    own_backups.remember(appliance, packed.sha256)
    appliance.replace_file(_description(appliance), content, mode=0o600)
    appliance.publish(partial, ARCHIVE)
    sync_directory(appliance.spool)
    _publish(appliance, content)
    return size


def some(names: list[str], limit: int) -> list[str]:
    """Return at most `limit` names, each of a limited length."""
    return [name[:_MAX_SHOWN] for name in names[:limit]]


def record_running(appliance: Appliance) -> None:
    """Record that a backup is being made.

    :raises OSError: that cannot be written.
    """
    _publish(appliance, _text(RUNNING))


def record_failure(appliance: Appliance, message: str) -> None:
    """Record why there is no backup, or no newer one.

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


def _text(facts: Mapping[str, Any]) -> str:
    """Return compact JSON without a newline, as the original, whose users search for `"status":"success"`."""
    return json.dumps(facts, separators=(",", ":"))


def exists(appliance: Appliance) -> bool:
    """Return whether there is anything to delete, no matter who made it."""
    own = os.path.lexists(archive(appliance)) or os.path.lexists(_description(appliance))
    return own or foreign_backups.exists(appliance)


def delete(appliance: Appliance) -> None:
    """Delete the backup, no matter who made it, its description, and incomplete ones of dead processes.

    :raises OSError: they cannot be deleted.
    """
    appliance.withdraw(ARCHIVE)
    appliance.withdraw(DESCRIPTION)
    foreign_backups.withdraw(appliance)
    remove_partial(appliance)


def remove_partial(appliance: Appliance) -> None:
    """Remove incomplete archives of dead processes."""
    remove_abandoned(appliance.spool, f"{PARTIAL}*")

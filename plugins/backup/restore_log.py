"""What the answer to a restore tells beside its success: the lines of its log between the first and the last one."""

from __future__ import annotations

import re
from typing import Any, Final

from jidoteki.plugins.backup import removals

PROPERTIES: Final[dict[str, Any]] = {
    "warnings": {"type": "array", "items": {"type": "string"}, "description": "What was done otherwise, or not at all"},
}
BEGIN: Final = "Restoring backup archive to "
COMPLETE: Final = "Restore complete"
LINES: Final = 1000
MAX_WARNINGS: Final = 100
_LINE: Final = re.compile(r"\[[0-9]+\]\[[^]]*\] (.*)")


def told(log: str | None) -> dict[str, Any]:
    """Return what the answer has beside its status: `warnings` and `removed`, each where there is anything to tell.

    :param log: the end of the log of a restore that succeeded.
    """
    said = warnings(log)
    return {**({"warnings": said} if said else {}), **removals.logged(_lines(log))}


def warnings(log: str | None) -> list[str]:
    """Return what was left out or restored otherwise than it was packed.

    :param log: the end of the log of a restore that succeeded.
    """
    found = [line for line in _lines(log) if not removals.is_logged(line)]
    if len(found) > MAX_WARNINGS:
        return [*found[: MAX_WARNINGS - 1], f"{len(found) - MAX_WARNINGS + 1} more, which GET /backup/log shows"]
    return found


def _lines(log: str | None) -> list[str]:
    """Return the lines between the first and the last one of a restore."""
    found: list[str] = []
    for line in (log or "").splitlines():
        said = _LINE.fullmatch(line)
        if said is None or said[1].startswith(BEGIN):
            continue
        if said[1] == COMPLETE:
            break
        found.append(said[1])
    return found

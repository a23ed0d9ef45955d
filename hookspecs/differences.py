"""What a change would change: `changes` in the answers of dry runs, which never show a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "********"
"""What is shown in place of a secret; also of a value that the caller may not read."""
MAX_CHANGES: Final = 1000
_SECRET: Final = re.compile(
    r"passw|passphrase|passcode|pwd|(?<![^\W_])(?:pass|psk)(?![^\W_])|secret|token|credential|private|api-?_?key",
    re.IGNORECASE,
)

SCHEMA: Final[dict[str, Any]] = {
    "type": "array",
    "description": f"In a dry run: what would change, at most {MAX_CHANGES}",
    "items": {
        "type": "object",
        "required": ["path", "from", "to"],
        "properties": {
            "path": {"type": "string", "description": "Names separated by dots, such as network.hostname"},
            "from": {"description": f"The value in force; null if there is none, {MASK} for a secret"},
            "to": {"description": f"The new value; null if it is removed, {MASK} for a secret"},
        },
        "additionalProperties": False,
    },
}
"""The JSON Schema of `changes`."""


def change(path: str, former: Any, new: Any) -> dict[str, Any]:
    """Return one change.

    :param former: the JSON value in force; None for none.
    :param new: the one that would replace it; None if it would be removed.
    """
    secret = bool(_SECRET.search(path))
    return {"path": path, "from": _shown(former, secret), "to": _shown(new, secret)}


def between(former: Any, new: Any, path: str = "") -> list[dict[str, Any]]:
    """Return the changes that lead from one JSON value to another: of objects name by name, of all else as a whole.

    :param former: the value in force; None for none.
    :param new: the one that would replace it.
    :param path: where they are.
    """
    found: list[dict[str, Any]] = []
    waiting = [(path, former, new)]
    while waiting and len(found) < MAX_CHANGES:
        where, old, other = waiting.pop()
        if isinstance(old, Mapping | None) and isinstance(other, Mapping | None) and (old or other):
            names = sorted({*(old or {}), *(other or {})}, reverse=True)
            prefix = f"{where}." if where else ""
            waiting += [(f"{prefix}{name}", (old or {}).get(name), (other or {}).get(name)) for name in names]
        elif old != other or isinstance(old, bool) != isinstance(other, bool):
            found.append(change(where, old, other))
    return found


def shown(dry_run: bool, *changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to add to an answer: the changes in a dry run, else nothing."""
    return {"changes": [dict(each) for each in changes]} if dry_run else {}


def _shown(value: Any, secret: bool) -> Any:
    if value is None:
        return None
    if secret:
        return MASK
    if isinstance(value, Mapping):
        return {name: _shown(each, bool(_SECRET.search(str(name)))) for name, each in value.items()}
    return [_shown(each, False) for each in value] if isinstance(value, list) else value

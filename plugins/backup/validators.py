"""The validators of `/backup`."""

from __future__ import annotations

from typing import Final, Literal

import voluptuous as vol

from jidoteki.hookspecs import validators

Action = Literal["START", "STOP"]
MERGE: Final = "merge"
EXACT: Final = "exact"


@validators.described(
    {
        "type": "string",
        "enum": ["START", "STOP"],
        "description": "START to start a backup, STOP to stop or delete it; lower case is taken, too",
        "examples": ["START", "STOP"],
    }
)
def action(value: str) -> Action:
    """Validate START or STOP, in any case."""
    wanted = value.upper()
    if wanted == "START":
        return "START"
    if wanted == "STOP":
        return "STOP"
    raise vol.Invalid("must be START or STOP")


@validators.described(
    {
        "type": "string",
        "enum": [MERGE, EXACT],
        "description": "merge to keep what the archive lacks, exact to remove it",
        "examples": [MERGE, EXACT],
    }
)
def mode(value: str) -> str:
    """Validate merge or exact."""
    if value in (MERGE, EXACT):
        return value
    raise vol.Invalid(f"must be {MERGE} or {EXACT}")

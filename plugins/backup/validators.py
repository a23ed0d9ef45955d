"""What `/backup` accepts."""

from __future__ import annotations

from typing import Literal

import voluptuous as vol

Action = Literal["START", "STOP"]


def action(value: str) -> Action:
    """Accept START and STOP, in any case."""
    wanted = value.upper()
    if wanted == "START":
        return "START"
    if wanted == "STOP":
        return "STOP"
    raise vol.Invalid("must be START or STOP")

"""The parameters that select the jobs of a list."""

from __future__ import annotations

import re
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Label, validators

MAX_LISTED: Final = 100
_TYPE: Final = "[a-z][a-z0-9-]{0,63}"
_ID: Final = f"[0-9]{{6,9}}-{_TYPE}"
_STATUSES: Final = ("running", "success", "failed", "cancelled")
_LIMIT: Final = "[1-9][0-9]?|100"


def _matching(pattern: str, what: str, description: str) -> Any:
    @validators.described({"type": "string", "pattern": f"^({pattern})$", "description": description})
    def accept(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise vol.Invalid(f"must be {what}")
        return value

    return accept


@validators.described({"type": "string", "pattern": f"^({_LIMIT})$", "description": "How many at most; 100 by default"})
def _limit(value: str) -> int:
    if not re.fullmatch(_LIMIT, value):
        raise vol.Invalid(f"must be a number from 1 to {MAX_LISTED}")
    return int(value)


PAGE: Final[dict[Any, Any]] = {
    vol.Optional("type", description=Label("Type")): _matching(
        _TYPE, "the type of a job, such as backup", "Only jobs of this type"
    ),
    vol.Optional("status", description=Label("Status")): _matching(
        "|".join(_STATUSES), f"one of {', '.join(_STATUSES)}", "Only jobs with this status"
    ),
    vol.Optional("limit", description=Label("Jobs")): _limit,
    vol.Optional("before", description=Label("Before")): _matching(
        _ID, "the id of a job", "Only jobs that started before this one: `next` of a page"
    ),
}

"""The parameters of `/tokens`."""

from __future__ import annotations

import re
import time

import voluptuous as vol

from jidoteki.hookspecs import validators
from jidoteki.hookspecs.named_tokens import NAME, RESERVED, SCOPE, is_name, is_scope

MAX_SCOPES = 32
SCOPES = f" *({SCOPE})( *, *({SCOPE})){{0,{MAX_SCOPES - 1}}} *"


@validators.described({"type": "string", "pattern": f"^{NAME}$", "description": "Who it is for"})
def name(value: str) -> str:
    """Accept the name of a token."""
    if not is_name(value):
        reserved = ", ".join(RESERVED)
        raise vol.Invalid(
            f"must be 1 to 32 lower-case letters, digits and '-', begin with a letter, and be none of {reserved}"
        )
    return value


@validators.described({"type": "string", "pattern": f"^{SCOPES}$", "description": "all, read, /path or GET /path"})
def scopes(value: str) -> list[str]:
    """Accept scopes separated by commas."""
    found = [each.strip() for each in value.split(",")]
    if len(found) > MAX_SCOPES or not all(is_scope(each) for each in found):
        raise vol.Invalid("must be scopes separated by commas: all, read, a path such as /backup, or GET /backup")
    return found


@validators.described(
    {"type": "string", "pattern": "^[0-9]{1,10}$", "description": "When it ends, since the epoch; never by default"}
)
def expires(value: str) -> int:
    """Accept the time at which a token expires."""
    if not re.fullmatch("[0-9]{1,10}", value) or int(value) <= time.time():
        raise vol.Invalid("must be a time to come, in seconds since the epoch")
    return int(value)

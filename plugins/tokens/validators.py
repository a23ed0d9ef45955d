"""What `/tokens` accepts."""

from __future__ import annotations

import re

import voluptuous as vol

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SCOPE = re.compile(r"all|read|((GET|POST|PUT|PATCH|DELETE) )?(/[a-z0-9][a-z0-9._-]*)+")
MAX_SCOPES = 32


def name(value: str) -> str:
    """Accept the name of a token."""
    if not _NAME.fullmatch(value) or value == "admin":
        raise vol.Invalid("must be 1 to 32 lower-case letters, digits and '-', begin with a letter, and not be admin")
    return value


def scopes(value: str) -> list[str]:
    """Accept scopes separated by commas."""
    found = [each.strip() for each in value.split(",")]
    if len(found) > MAX_SCOPES or not all(_SCOPE.fullmatch(each) for each in found):
        raise vol.Invalid("must be scopes separated by commas: all, read, a path such as /backup, or GET /backup")
    return found

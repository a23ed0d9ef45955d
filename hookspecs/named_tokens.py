"""The file of named tokens, `ADMIN/etc/api.tokens.json`, which the host reads and the endpoint `/tokens` writes.

`{"tokens": {NAME: {"key": hexadecimal SHA-256 of the token, "scopes": […], "created": seconds since the epoch,
"expires": the same}}}`; without `expires` a token never expires.
The key is the secret of hashes and signatures: it does not reveal the token, but whoever has it can sign requests with
it. The file is as secret as the tokens, with mode 0600.

A scope is `all`, `read`, a path (`/backup`: that path and those below), or a method and a path (`GET /backup`).
"""

from __future__ import annotations

import re
from typing import Final

FILE: Final = "api.tokens.json"
MAX_TOKENS: Final = 64
ADMINISTRATOR: Final = "admin"
RESERVED: Final = (ADMINISTRATOR, "first-run", "first-setup", "local", "root")
"""Names with another meaning in the audit log."""

CLOSED: Final = ("/setup", "/tokens")
"""Paths that no named token may use, whatever its scopes: with these it could grant itself all rights."""

OPEN: Final = ("/session", "/downloads")
"""Paths that every named token may use, whatever its scopes: what it may do is its holder's business, and an address
for a download is made only of what it may read."""

NAME: Final = f"(?!({'|'.join(RESERVED)})$)[a-z][a-z0-9-]{{0,31}}"
SCOPE: Final = "all|read|((GET|POST|PUT|PATCH|DELETE) )?(/[a-z0-9][a-z0-9._-]*)+"


def is_name(text: str) -> bool:
    """Return whether a named token may have this name."""
    return bool(re.fullmatch(NAME, text))


def is_scope(text: str) -> bool:
    """Return whether a text is a valid scope."""
    return bool(re.fullmatch(SCOPE, text))

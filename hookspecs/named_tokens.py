"""The file of named tokens, `ADMIN/etc/api.tokens.json`, which the host reads and the endpoint `/tokens` writes.

`{"tokens": {NAME: {"key": hexadecimal SHA-256 of the token, "scopes": […], "created": seconds since the epoch,
"expires": the same}}}`; without `expires` a token has no end.
The key is that of hashes and signatures, on both sides: the token cannot be told from it, but who has it can sign in
the token's name. The file is as secret as the tokens, and mode 0600.

A scope is `all`, `read`, a path (`/backup`: everything there and below), or a method and a path (`GET /backup`).
"""

from __future__ import annotations

import re
from typing import Final

FILE: Final = "api.tokens.json"
MAX_TOKENS: Final = 64
ADMINISTRATOR: Final = "admin"
RESERVED: Final = (ADMINISTRATOR, "first-run", "first-setup", "local", "root")
"""Names in the audit log that mean somebody else."""

CLOSED: Final = ("/setup", "/tokens")
"""What no named token may use, whatever its scopes: with these it could give itself everything."""

NAME: Final = f"(?!({'|'.join(RESERVED)})$)[a-z][a-z0-9-]{{0,31}}"
SCOPE: Final = "all|read|((GET|POST|PUT|PATCH|DELETE) )?(/[a-z0-9][a-z0-9._-]*)+"


def is_name(text: str) -> bool:
    """Whether a named token may have this name."""
    return bool(re.fullmatch(NAME, text))


def is_scope(text: str) -> bool:
    """Whether this is a scope."""
    return bool(re.fullmatch(SCOPE, text))

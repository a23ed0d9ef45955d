"""The users of the API and their rights: the administrator, and named tokens with scopes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from jidoteki.hookspecs import named_tokens

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class User:
    """A user of the API; `scopes` is None for one who may do everything."""

    name: str
    scopes: tuple[str, ...] | None = None

    def may(self, method: str, path: str, changes: bool) -> bool:
        """Return whether this user may make a request.

        :param method: GET for HEAD.
        :param path: without the prefix.
        :param changes: whether it changes the appliance.
        """
        if self.scopes is None:
            return True
        if any(_covers(reserved, path) for reserved in named_tokens.CLOSED):
            return False
        if path in named_tokens.OPEN:
            return True
        return any(_allows(scope, method, path, changes) for scope in self.scopes)


def _allows(scope: str, method: str, path: str, changes: bool) -> bool:
    if scope in ("all", "read"):
        return scope == "all" or not changes
    wanted, _, prefix = scope.rpartition(" ")
    return wanted in ("", method) and _covers(prefix, path)


def _covers(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a token: the user, and the key for `?hash=` and signatures that is derived from the token."""

    key: bytes
    """The hexadecimal SHA-256 of the token; empty for the first setup, which needs none."""
    user: User
    created: int = 0
    """When the token was made, in seconds since the epoch; 0 where nobody knows."""
    expires: int | None = None
    """When it ceases to count; None for never."""

    @property
    def credential(self) -> str:
        """A name for the credential that tells nothing of it."""
        name = b"credential\0" + self.key + b"\0" + self.user.name.encode()
        return hashlib.sha256(name).hexdigest()[:32]


def parse(content: bytes) -> Mapping[str, Holder]:
    """Return the tokens in a file by name; invalid entries are ignored."""
    try:
        listed = json.loads(content)["tokens"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    found: dict[str, Holder] = {}
    for name, entry in list(listed.items())[: named_tokens.MAX_TOKENS] if isinstance(listed, dict) else []:
        token = _token(name, entry)
        if token:
            found[name] = token
    return found


def _token(name: str, entry: object) -> Holder | None:
    if not named_tokens.is_name(name) or not isinstance(entry, dict):
        return None
    key, scopes = entry.get("key"), entry.get("scopes")
    if not isinstance(key, str) or not _KEY.fullmatch(key) or not isinstance(scopes, list):
        return None
    if not all(isinstance(scope, str) and named_tokens.is_scope(scope) for scope in scopes):
        return None
    created, expires = entry.get("created"), entry.get("expires")
    if not (expires is None or _is_time(expires)):
        return None
    return Holder(key.encode(), User(name, tuple(scopes)), created if _is_time(created) else 0, expires)


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 10**11

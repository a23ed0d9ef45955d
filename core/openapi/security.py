"""The security schemes of the document, and the scopes that a named token needs for an operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jidoteki.core.auth import users
from jidoteki.core.http.routes import Routes

#: An extension of operations: a named token needs one of these scopes; empty where only the administrator may.
SCOPES = "x-jidoteki-scopes"

_OF_THE_REFERENCE: dict[str, Any] = {
    "hash": {
        "type": "apiKey",
        "in": "query",
        "name": "hash",
        "description": "Recommended, the token never leaves your machine: hexadecimal HMAC-SHA256 of method and path "
        "(`GET/api/v1/admin/version`, without the query), keyed with the hexadecimal SHA-256 of the token. "
        "HEAD uses the hash of GET.",
    },
    "token": {"type": "apiKey", "in": "query", "name": "token", "description": "The token itself"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The token itself, but in no URL"},
}

_SIGNATURES: dict[str, Any] = {
    "signatureInput": {
        "type": "apiKey",
        "in": "header",
        "name": "Signature-Input",
        "description": "What a signature covers (RFC 9421): `@method`, `@authority`, `@path`, `@query`, and also "
        "`content-digest` (RFC 9530, sha-256) where there is a body; with the parameters `created` (not more than 300 "
        "seconds ago), `nonce` (16 to 128 printable characters, each used once), `keyid` (`admin`, or the name of a "
        'named token) and `alg="hmac-sha256"`.',
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Signature",
        "description": "The signature (RFC 9421): HMAC-SHA256, keyed with the hexadecimal SHA-256 of the token.",
    },
}


def schemes(authentication: Mapping[str, bool]) -> dict[str, Any]:
    """Return the enabled security schemes.

    :param authentication: that section of the configuration.
    """
    return {**_OF_THE_REFERENCE, **_SIGNATURES} if authentication["signatures"] else _OF_THE_REFERENCE


def requirements(authentication: Mapping[str, bool]) -> list[dict[str, list[str]]]:
    """Return the alternative credentials of a request; a signature is two headers."""
    ways = [*([name] for name in _OF_THE_REFERENCE), *([list(_SIGNATURES)] if authentication["signatures"] else [])]
    return [{name: [] for name in names} for names in ways]


def scopes(routes: Routes, method: str, path: str, changes: bool) -> dict[str, list[str]]:
    """Return the extension of an operation; empty where named tokens are not enabled.

    :param path: without the prefix.
    """
    if not routes.authentication["named-tokens"]:
        return {}
    parts = path.split("/")
    paths = ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]
    candidates = ["all", "read", *paths, *(f"{method} {each}" for each in paths)]
    return {SCOPES: [each for each in candidates if users.User("", (each,)).may(method, path, changes)]}

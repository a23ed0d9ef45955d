"""Credentials: the user, and the hash that authenticates a request in place of the token (original API)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated user of a request."""

    name: str
    """`admin`, or the name of a named token."""
    scopes: tuple[str, ...] | None
    """See `jidoteki.hookspecs.named_tokens`; None for the administrator."""
    expires: int | None
    """When the token expires, in seconds since the epoch; None for never."""


def secret_of(token: bytes) -> bytes:
    """Return the key for hashes and signatures that is derived from a token: its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(token).hexdigest().encode()


def hash_with(secret: bytes, method: str, path: str) -> str:
    """Return the hexadecimal HMAC-SHA256 of a method and a path.

    :param method: GET for HEAD.
    :param path: with the prefix, without the query.
    """
    return hmac.digest(secret, (method + path).encode("utf-8", "surrogateescape"), "sha256").hex()


def request_hash(method: str, path: str, token: str) -> str:
    """Return the hash that authenticates a request, the value of `?hash=`.

    :param method: HTTP method; HEAD counts as GET.
    :param path: with the prefix, without the query.
    """
    return hash_with(secret_of(token.encode()), "GET" if method == "HEAD" else method, path)

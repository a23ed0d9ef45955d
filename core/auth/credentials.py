"""The credentials of requests: a token, or a hash made with it."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from functools import lru_cache

from yarl import URL

from jidoteki.core.auth.users import Holder, User
from jidoteki.hookspecs import ApiError
from jidoteki.hookspecs.credentials import hash_with, secret_of

TOKEN_CHARACTERS = frozenset(range(33, 127))
MAX_TOKEN = 255
MAX_HASHES = 1024
ADMIN = User("admin")


@dataclass(slots=True)
class TokenKey:
    """The token of a token file; it accepts the token itself and the hashes made with it."""

    token: bytes
    _hashes: dict[tuple[str, str], bytes] = field(default_factory=dict, compare=False)
    #: The key of hashes and signatures.
    secret: bytes = field(init=False, compare=False)
    admin: Holder = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.secret = secret_of(self.token)
        self.admin = Holder(self.secret, ADMIN)

    def accepts(self, method: str, path: str, credential: Credential) -> bool:
        """Return whether a credential was made with this token, for a method and a path with the prefix."""
        if credential.kind == "token":
            return hmac.compare_digest(self.token, credential.value)
        expected = self._hashes.get((method, path))
        if expected is None:
            if len(self._hashes) >= MAX_HASHES:
                self._hashes.clear()
            expected = self._hashes[method, path] = hash_with(self.secret, method, path).encode()
        return hmac.compare_digest(expected, credential.value)


@dataclass(frozen=True, slots=True)
class Credential:
    """A `token` or a `hash` that a request presents."""

    kind: str
    value: bytes


def credential_of(query: str, authorization: str | None) -> Credential | None:
    """Return the credential of a request; with both a token and a hash in the query, the hash decides.

    An empty one is ignored, as in the original, and so is an Authorization header of a scheme other than Bearer:
    proxies that ask for a password pass it on.

    :param query: as it was sent, without the question mark.
    :raises ApiError: 400, credentials in the query and in the Authorization header.
    """
    shown = _credential_in(query)
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return shown
    if shown is not None:
        raise ApiError(400, "Send one kind of credential: ?hash=, ?token= or the Authorization header")
    return Credential("token", value.strip().encode("utf-8", "surrogateescape"))


@lru_cache(maxsize=256)
def _credential_in(query: str) -> Credential | None:
    """Return the credential in a query; cached, as scripts send the same ones again and again.

    A `+` is literal, as in the original, and not the space of a form: no credential contains a space.
    """
    given = URL.build(query_string=query.replace("+", "%2B"), encoded=True).query
    for kind in ("hash", "token"):
        if len(given.getall(kind, ())) > 1:
            raise ApiError(400, f"Send one {kind}")
        if given.get(kind):
            return Credential(kind, given[kind].encode("utf-8", "surrogateescape"))
    return None


def key_of(content: bytes) -> TokenKey | None:
    """Return the key of the token in the first line of a token file; as in the original, the rest is ignored."""
    token = re.split(rb"[\r\n]", content, maxsplit=1)[0]
    if not 1 <= len(token) <= MAX_TOKEN or not TOKEN_CHARACTERS.issuperset(token):
        return None
    return TokenKey(token)

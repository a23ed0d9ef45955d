"""Who may use the API: the token, the hash made with it, and the passphrase of a first run."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module

from yarl import URL

from jidoteki.core import files, users
from jidoteki.core.appliance import Appliance
from jidoteki.core.users import User
from jidoteki.hookspecs import PREFIX, ApiError
from jidoteki.hookspecs.named_tokens import FILE as TOKENS_FILE

SETUP = "/setup"
TOKEN_CHARACTERS = frozenset(range(33, 127))
MAX_TOKEN = 255
MAX_HASHES = 1024
ADMIN = User("admin")


def request_hash(method: str, path: str, token: str) -> str:
    """Return the hash that authenticates a request.

    :param method: HTTP method; HEAD counts as GET.
    :param path: with the prefix, without the query.
    :return: hexadecimal HMAC-SHA256 of method and path, keyed with the hexadecimal SHA-256 of the token.
    """
    return _Key(token.encode()).hash("GET" if method == "HEAD" else method, path)


@dataclass(slots=True)
class _Key:
    token: bytes
    _hashes: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def hash(self, method: str, path: str) -> str:
        return hmac.new(self.secret, (method + path).encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    @property
    def secret(self) -> bytes:
        """What keys hashes and signatures."""
        return hashlib.sha256(self.token).hexdigest().encode()

    def accepts(self, method: str, path: str, credential: Credential) -> bool:
        if credential.kind == "token":
            return hmac.compare_digest(self.token, credential.value)
        expected = self._hashes.get((method, path))
        if expected is None:
            if len(self._hashes) >= MAX_HASHES:
                self._hashes.clear()
            expected = self._hashes[method, path] = self.hash(method, path).encode()
        return hmac.compare_digest(expected, credential.value)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request shows: a `token` or a `hash`."""

    kind: str
    value: bytes


def credential_of(query: str, authorization: str | None) -> Credential | None:
    """Return the credential of a request; with both a token and a hash in the query, the hash decides.

    An empty one is none, as in the original.

    :param query: as it was sent, without the question mark.
    :raises ApiError: 400, credentials in the query and in the Authorization header.
    """
    shown = _shown_in(query)
    if authorization is not None:
        if shown is not None:
            raise ApiError(400, "Send one kind of credential: ?hash=, ?token= or the Authorization header")
        scheme, _, value = authorization.partition(" ")
        bearer = value.strip() if scheme.lower() == "bearer" else ""
        return Credential("token", bearer.encode("utf-8", "surrogateescape"))
    return shown


@lru_cache(maxsize=256)
def _shown_in(query: str) -> Credential | None:
    """The credential in a query; scripts send the same ones again and again."""
    given = URL.build(query_string=query, encoded=True).query
    for kind in ("hash", "token"):
        if given.get(kind):
            return Credential(kind, given[kind].encode("utf-8", "surrogateescape"))
    return None


class Authenticator:
    """Judges credentials against the token file, which it rereads when it changes.

    :param first_run: whether the first setup needs a generated passphrase.
    :param words: length of that passphrase in words.
    :param named_tokens: whether tokens beside the administrator's count.
    """

    def __init__(self, appliance: Appliance, first_run: bool, words: int, named_tokens: bool = False) -> None:
        self.first_run = first_run
        self._words = words
        self._token_file = appliance.etc / "api.token"
        self._setup_file = appliance.etc / "api.token.setup"
        self._token = files.CachedFile(self._token_file, _key_of, limit=4096)
        self._named = files.CachedFile(appliance.etc / TOKENS_FILE, users.parse) if named_tokens else None
        self._passphrase = files.CachedFile(self._setup_file, _key_of, limit=4096)

    def prepare(self) -> None:
        """Make the passphrase of a first run that has none yet."""
        if self.first_run and not self._token_file.exists() and not self._setup_file.exists():
            files.create_file(self._setup_file, new_passphrase(self._words).encode() + b"\n")

    def first_run_pending(self) -> bool:
        """Whether the passphrase still waits for its first use; a file that holds none waits for ever."""
        if not self.first_run:
            return False
        try:
            return self._passphrase.get() is not None or self._passphrase.present
        except OSError:
            return True

    def authenticate(self, method: str, path: str, credential: Credential | None) -> User | None:
        """Return whose credential it is, or None.

        :param method: HTTP method, GET for HEAD.
        :param path: path of an endpoint that exists, without the prefix, as it was sent.
        """
        setup = (method, path.removesuffix("/")) == ("POST", SETUP)
        pending = self.first_run_pending()
        try:
            key = (self._passphrase if pending else self._token).get()
        except OSError:
            return None
        if pending and not setup:
            return None
        if key is None or credential is None:
            # Whoever comes first may, whatever they show: scripts that always show a token make first setups too.
            return User("first-setup") if setup and not pending and self._is_unset() else None
        if key.accepts(method, PREFIX + path, credential):
            return User("first-run") if pending else ADMIN
        return None if pending else self._named_user(method, path, credential)

    def signing_key(self, keyid: str) -> bytes | None:
        """The key for signatures of `admin` or of a named token; None where there is none, or first run is pending."""
        if self.first_run_pending():
            return None
        try:
            if keyid == "admin":
                key = self._token.get()
                return key.secret if key else None
            token = self._tokens().get(keyid)
        except OSError:
            return None
        return token.key if token else None

    def signer(self, keyid: str) -> User | None:
        """Who signs with this key."""
        if keyid == "admin":
            return ADMIN
        token = self._tokens().get(keyid)
        return token.user if token else None

    def _tokens(self) -> Mapping[str, users.NamedToken]:
        return (self._named.get() if self._named else None) or {}

    def _named_user(self, method: str, path: str, credential: Credential) -> User | None:
        try:
            tokens = self._tokens()
        except OSError:
            return None
        digest = hashlib.sha256(credential.value).hexdigest().encode()
        found = None
        for each in tokens.values():
            if credential.kind == "token":
                matches = hmac.compare_digest(each.key, digest)
            else:
                expected = hmac.new(each.key, (method + PREFIX + path).encode("utf-8", "surrogateescape"), "sha256")
                matches = hmac.compare_digest(expected.hexdigest().encode(), credential.value)
            found = each.user if matches else found
        return found

    def set_token(self, token: str, user: str) -> None:
        """Put a new token into force, durably.

        :param user: who `authenticate` said it was.
        :raises ApiError: 403, somebody else made the first setup meanwhile.
        :raises OSError: the old token is still in force.
        """
        content = token.encode() + b"\n"
        if user == "first-setup":
            if not files.create_file(self._token_file, content):
                raise ApiError(403, "Authentication error")
        else:
            files.replace_file(self._token_file, content, mode=0o600)
        if user == "first-run":
            self._setup_file.unlink(missing_ok=True)
            files.sync_directory(self._setup_file.parent)

    def _is_unset(self) -> bool:
        """Only a token file that is not there at all may be made by anybody: an empty one may be an accident."""
        try:
            self._token_file.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            pass
        return False


def _key_of(content: bytes) -> _Key | None:
    token = content.removesuffix(b"\n").removesuffix(b"\r")
    if not 1 <= len(token) <= MAX_TOKEN or not TOKEN_CHARACTERS.issuperset(token):
        return None
    return _Key(token)


def new_passphrase(words: int) -> str:
    """Return a passphrase of `words` words of the EFF large word list, joined by `-`."""
    import secrets

    xkcd = import_module("xkcdpass.xkcd_password")
    wordlist = xkcd.generate_wordlist(wordfile=xkcd.locate_wordfile("eff-long"), min_length=1, max_length=20)
    return "-".join(secrets.choice(wordlist) for _ in range(words))

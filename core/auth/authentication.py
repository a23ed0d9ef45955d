"""Who may use the API: the token, the hash made with it, and the passphrase of a first run."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from yarl import URL

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.core.auth import users
from jidoteki.core.auth.users import Holder, User
from jidoteki.hookspecs import PREFIX, ApiError, named_tokens, paths
from jidoteki.hookspecs.named_tokens import FILE as TOKENS_FILE

SETUP = "/setup"
TOKEN_CHARACTERS = frozenset(range(33, 127))
MAX_TOKEN = 255
MAX_HASHES = 1024
#: As the original leaves it: its tools may change the token.
TOKEN_MODE = 0o660
MAX_FILE = 4096
MAX_TOKENS_FILE = 1024 * 1024
FORBIDDEN = "Authentication error"
ADMIN = User("admin")
FIRST_RUN = User("first-run")
#: Whoever comes first, while there is no token at all.
FIRST_SETUP = Holder(b"", User("first-setup"))

T = TypeVar("T")

#: Two changes of the token at once must not both find the old one in force.
_CHANGING = threading.Lock()


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
    _hashes: dict[tuple[str, str], bytes] = field(default_factory=dict, compare=False)
    #: What keys hashes and signatures.
    secret: bytes = field(init=False, compare=False)
    admin: Holder = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.secret = hashlib.sha256(self.token).hexdigest().encode()
        self.admin = Holder(self.secret, ADMIN)

    def hash(self, method: str, path: str) -> str:
        return hmac.new(self.secret, (method + path).encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

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

    An empty one is none, as in the original, and so is an Authorization header of another scheme than Bearer: proxies
    that ask for a password hand it on.

    :param query: as it was sent, without the question mark.
    :raises ApiError: 400, credentials in the query and in the Authorization header.
    """
    shown = _shown_in(query)
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return shown
    if shown is not None:
        raise ApiError(400, "Send one kind of credential: ?hash=, ?token= or the Authorization header")
    return Credential("token", value.strip().encode("utf-8", "surrogateescape"))


@lru_cache(maxsize=256)
def _shown_in(query: str) -> Credential | None:
    """The credential in a query; scripts send the same ones again and again.

    A `+` is itself, as in the original, and not the space of a form: no credential has a space.
    """
    given = URL.build(query_string=query.replace("+", "%2B"), encoded=True).query
    for kind in ("hash", "token"):
        if len(given.getall(kind, ())) > 1:
            raise ApiError(400, f"Send one {kind}")
        if given.get(kind):
            return Credential(kind, given[kind].encode("utf-8", "surrogateescape"))
    return None


class Authenticator:
    """Judges credentials against the token files, which it rereads when they change.

    :param first_run: whether the first setup needs a generated passphrase.
    :param words: length of that passphrase in words.
    :param named_tokens: whether tokens beside the administrator's count.
    """

    def __init__(self, appliance: Appliance, first_run: bool, words: int, named_tokens: bool = False) -> None:
        self.first_run = first_run
        self._words = words
        self._appliance = appliance
        self._token_file = appliance.etc / "api.token"
        self._setup_file = appliance.etc / "api.token.setup"
        self._token = files.CachedFile(self._token_file, _key_of, limit=MAX_FILE)
        self._tokens_file = appliance.etc / TOKENS_FILE if named_tokens else None
        self._named = files.CachedFile(self._tokens_file, users.parse, trusted=True) if self._tokens_file else None
        self._passphrase = files.CachedFile(self._setup_file, _key_of, limit=MAX_FILE, trusted=True)
        self._claimed = files.CachedFile(self._setup_file, _key_of, limit=MAX_FILE)

    def prepare(self) -> None:
        """Make the passphrase of a first run that has none; blocks.

        :raises OSError: it cannot be stored, or it cannot be read whether there is one, or a token.
        """
        if not self.first_run or _read(self._token_file, _key_of, trusted=False) is not None:
            return
        with contextlib.suppress(paths.NotTrusted):
            if _read(self._setup_file, _key_of) is not None:
                return
        content = new_passphrase(self._words).encode() + b"\n"
        if not files.create_file(self._setup_file, content, 0o640, self._appliance.group):
            # What lies there is no passphrase.
            files.replace_file(self._setup_file, content, 0o640, group=self._appliance.group)

    def lacks_passphrase(self) -> bool:
        """Whether a first run is pending that nobody has a passphrase for, since somebody removed the token."""
        try:
            if not self.first_run or self._token.get() is not None:
                return False
        except OSError:  # there may be one
            return False
        try:
            return self._passphrase.get() is None
        except paths.NotTrusted:  # nobody has to know what somebody else wrote there
            return True
        except OSError:
            return False

    def first_run_pending(self) -> bool:
        """Whether the passphrase still waits for its first use."""
        token = _get(self._token)
        if token is not None and not self.first_run:
            return False
        return self._pending(token, self._waiting(token))

    def _waiting(self, token: _Key | None) -> _Key | None:
        """The passphrase, unless somebody else wrote it."""
        try:
            return self._passphrase.get()
        except paths.NotTrusted:
            return _confirmed(_get(self._claimed), token)
        except OSError:
            return None

    def _pending(self, token: _Key | None, passphrase: _Key | None) -> bool:
        """Without a token it is, where first runs are enabled, and a passphrase that is there counts even if not."""
        if passphrase is None:
            return self.first_run and token is None
        return self.first_run or token is None

    def authenticate(self, method: str, path: str, credential: Credential | None) -> Holder | None:
        """Return whose credential it is, or None.

        :param method: HTTP method, GET for HEAD.
        :param path: path of an endpoint that exists, without the prefix, as it was sent.
        """
        setup = (method, path.removesuffix("/")) == ("POST", SETUP)
        key = _get(self._token)
        pending = (key is None or self.first_run) and self.first_run_pending()
        if pending:
            if not setup:
                return None
            key = self._waiting(key)
        if key is None or credential is None:
            # Whoever comes first may, whatever they show: scripts that always show a token make first setups too.
            return FIRST_SETUP if setup and self._is_unset(pending) else None
        if key.accepts(method, PREFIX + path, credential):
            return Holder(key.secret, FIRST_RUN) if pending else key.admin
        return None if pending else self._named_holder(method, path, credential)

    def signer(self, keyid: str) -> Holder | None:
        """Return who may sign with the key of this name; nobody while a first run is pending."""
        return self.holder(keyid) if keyid == ADMIN.name or named_tokens.is_name(keyid) else None

    def holder(self, name: str) -> Holder | None:
        """Return who holds the token of this name now: `admin`, a named token, or one of the first setup."""
        token = _get(self._token)
        return self._holder(name, self.first_run_pending(), token, self._waiting(token), self._tokens())

    def holder_on_disk(self, name: str) -> Holder | None:
        """Return the same by reading the files anew, outside of the event loop.

        :raises OSError: one of them cannot be read.
        """
        token, passphrase = _read(self._token_file, _key_of, trusted=False), None
        try:
            passphrase = _read(self._setup_file, _key_of)
        except paths.NotTrusted:
            passphrase = _confirmed(_read(self._setup_file, _key_of, trusted=False), token)
        named = _read(self._tokens_file, users.parse, MAX_TOKENS_FILE) if self._tokens_file else None
        return self._holder(name, self._pending(token, passphrase), token, passphrase, named or {})

    def _holder(
        self,
        name: str,
        pending: bool,
        token: _Key | None,
        passphrase: _Key | None,
        named: Mapping[str, Holder],
    ) -> Holder | None:
        if pending:
            return Holder(passphrase.secret, FIRST_RUN) if passphrase and name == FIRST_RUN.name else None
        if name == ADMIN.name:
            return token.admin if token else None
        if name == FIRST_SETUP.user.name:
            return FIRST_SETUP if self._is_unset(pending) else None
        return named.get(name)

    def _tokens(self) -> Mapping[str, Holder]:
        return (_get(self._named) if self._named else None) or {}

    def _named_holder(self, method: str, path: str, credential: Credential) -> Holder | None:
        digest = hashlib.sha256(credential.value).hexdigest().encode()
        found = None
        for each in self._tokens().values():
            if credential.kind == "token":
                matches = hmac.compare_digest(each.key, digest)
            else:
                expected = hmac.new(each.key, (method + PREFIX + path).encode("utf-8", "surrogateescape"), "sha256")
                matches = hmac.compare_digest(expected.hexdigest().encode(), credential.value)
            found = each if matches else found
        return found

    def set_token(self, token: str, holder: Holder) -> None:
        """Put a new token into force, durably; blocks.

        :param holder: who `authenticate` said it was, and must still be.
        :raises ApiError: 403, somebody else changed the token, or made the first setup, meanwhile.
        :raises OSError: the old token is still in force.
        """
        content = token.encode() + b"\n"
        with _CHANGING:
            if self.holder_on_disk(holder.user.name) != holder:
                raise ApiError(403, FORBIDDEN)
            if holder == FIRST_SETUP:
                if not files.create_file(self._token_file, content, TOKEN_MODE, self._appliance.group):
                    raise ApiError(403, FORBIDDEN)
            else:
                files.replace_file(self._token_file, content, TOKEN_MODE, group=self._appliance.group)
            if holder.user == FIRST_RUN:
                self._setup_file.unlink(missing_ok=True)
                files.sync_directory(self._setup_file.parent)

    def is_unset(self) -> bool:
        """Whether anybody may still make the first setup."""
        return _get(self._token) is None and self._is_unset(self.first_run_pending())

    def _is_unset(self, pending: bool) -> bool:
        """Only a token file that is not there at all may be made by anybody: an empty one may be an accident."""
        if pending or self.first_run:
            return False
        try:
            self._token_file.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            pass
        return False


def _confirmed(claimed: _Key | None, token: _Key | None) -> _Key | None:
    """A passphrase that somebody else wrote, if it is in `api.token`, too: who may write there needs none.

    The original's own user keeps it in both.
    """
    return claimed if claimed == token else None


def _key_of(content: bytes) -> _Key | None:
    """The key in the first line of a token file, whatever follows it, as the original reads it."""
    token = re.split(rb"[\r\n]", content, maxsplit=1)[0]
    if not 1 <= len(token) <= MAX_TOKEN or not TOKEN_CHARACTERS.issuperset(token):
        return None
    return _Key(token)


def _get(file: files.CachedFile[T]) -> T | None:
    """What a file holds; nothing where it cannot be read."""
    try:
        return file.get()
    except OSError:
        return None


def _read(path: Path, parse: Callable[[bytes], T], limit: int = MAX_FILE, trusted: bool = True) -> T | None:
    """What a file holds, read anew; nothing where there is none.

    :raises OSError: there is one, and it cannot be read.
    """
    try:
        # The original's own user may own `api.token`, whose group may write it anyway.
        return parse(paths.read_trusted(path, limit) if trusted else paths.read_regular(path, limit, follow=True))
    except (FileNotFoundError, NotADirectoryError):
        return None


def new_passphrase(words: int) -> str:
    """Return a passphrase of `words` words of the EFF large word list, joined by `-`."""
    import secrets

    xkcd = import_module("xkcdpass.xkcd_password")
    wordlist = xkcd.generate_wordlist(wordfile=xkcd.locate_wordfile("eff-long"), min_length=1, max_length=20)
    return "-".join(secrets.choice(wordlist) for _ in range(words))

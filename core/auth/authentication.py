"""Authentication by a token, by a hash made with it, or by the passphrase of a first run."""

from __future__ import annotations

import contextlib
import hmac
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.core.auth import expiry, users
from jidoteki.core.auth.credentials import ADMIN, Credential, TokenKey, key_of
from jidoteki.core.auth.users import Holder, User
from jidoteki.hookspecs import PREFIX, ApiError, named_tokens, paths
from jidoteki.hookspecs.credentials import hash_with, secret_of
from jidoteki.hookspecs.named_tokens import FILE as TOKENS_FILE

SETUP = "/setup"
#: The original's mode: its tools may change the token.
TOKEN_MODE = 0o660
MAX_FILE = 4096
MAX_TOKENS_FILE = 1024 * 1024
FORBIDDEN = "Authentication error"
FIRST_RUN = User("first-run")
#: The first client, while no token exists.
FIRST_SETUP = Holder(b"", User("first-setup"))

T = TypeVar("T")

#: Of two concurrent changes of the token only one may be based on the old token.
_CHANGING = threading.Lock()


class Authenticator:
    """Authenticates requests against the token files, which it rereads when they change.

    :param first_run: whether the first setup needs a generated passphrase.
    :param words: length of that passphrase in words.
    :param named_tokens: whether tokens other than the administrator's are accepted.
    """

    def __init__(self, appliance: Appliance, first_run: bool, words: int, named_tokens: bool = False) -> None:
        self.first_run = first_run
        self._words = words
        self._appliance = appliance
        self._token_file = appliance.etc / "api.token"
        self._setup_file = appliance.etc / "api.token.setup"
        self._token = files.CachedFile(self._token_file, key_of, limit=MAX_FILE)
        self._tokens_file = appliance.etc / TOKENS_FILE if named_tokens else None
        self._named = files.CachedFile(self._tokens_file, users.parse, trusted=True) if self._tokens_file else None
        self._passphrase = files.CachedFile(self._setup_file, key_of, limit=MAX_FILE, trusted=True)
        self._claimed = files.CachedFile(self._setup_file, key_of, limit=MAX_FILE)

    def prepare(self) -> None:
        """Create the passphrase of a first run if there is none; blocks.

        :raises OSError: it cannot be stored, or an existing passphrase or token cannot be read.
        """
        if not self.first_run or _read(self._token_file, key_of, trusted=False) is not None:
            return
        with contextlib.suppress(paths.NotTrustedError):
            if _read(self._setup_file, key_of) is not None:
                return
        content = new_passphrase(self._words).encode() + b"\n"
        if not files.create_file(self._setup_file, content, 0o640, self._appliance.group):
            # The existing file is not a passphrase.
            files.replace_file(self._setup_file, content, 0o640, group=self._appliance.group)

    def lacks_passphrase(self) -> bool:
        """Return whether a first run is pending without a passphrase, because the token was removed."""
        try:
            if not self.first_run or self._token.get() is not None:
                return False
        except OSError:  # there may be one
            return False
        try:
            return self._passphrase.get() is None
        except paths.NotTrustedError:  # somebody else wrote it: the administrator does not know it
            return True
        except OSError:
            return False

    def first_run_pending(self) -> bool:
        """Return whether the passphrase has not been used yet."""
        token = _get(self._token)
        if token is not None and not self.first_run:
            return False
        return self._pending(token, self._waiting(token))

    def first_run_shown(self) -> bool | None:
        """Return what responses show of first runs: whether one is pending; None where they are not enabled."""
        return self.first_run_pending() if self.first_run else None

    def _waiting(self, token: TokenKey | None) -> TokenKey | None:
        """Return the passphrase, unless somebody else wrote it."""
        try:
            return self._passphrase.get()
        except paths.NotTrustedError:
            return _confirmed(_get(self._claimed), token)
        except OSError:
            return None

    def _pending(self, token: TokenKey | None, passphrase: TokenKey | None) -> bool:
        """Return whether a first run is pending: one is without a token if enabled, or if there is a passphrase."""
        if passphrase is None:
            return self.first_run and token is None
        return self.first_run or token is None

    def authenticate(self, method: str, path: str, credential: Credential | None) -> Holder | None:
        """Return the holder of a credential, or None.

        :param method: HTTP method, GET for HEAD.
        :param path: path of an existing endpoint, without the prefix, as it was sent.
        """
        setup = (method, path.removesuffix("/")) == ("POST", SETUP)
        key = _get(self._token)
        pending = (key is None or self.first_run) and self.first_run_pending()
        if pending:
            if not setup:
                return None
            key = self._waiting(key)
        if key is None or credential is None:
            # The first client may, with any credential: scripts that always send a token make first setups, too.
            return FIRST_SETUP if setup and self._is_unset(pending) else None
        if key.accepts(method, PREFIX + path, credential):
            return Holder(key.secret, FIRST_RUN) if pending else key.admin
        return None if pending else self._named_holder(method, path, credential)

    def signer(self, keyid: str) -> Holder | None:
        """Return the holder of the key with this name, for signatures; None while a first run is pending."""
        return self.holder(keyid) if keyid == ADMIN.name or named_tokens.is_name(keyid) else None

    def holder(self, name: str) -> Holder | None:
        """Return the current holder of the token with this name: `admin`, a named token, or that of the first setup."""
        token = _get(self._token)
        return self._holder(name, self.first_run_pending(), token, self._waiting(token), self._tokens())

    def holder_on_disk(self, name: str) -> Holder | None:
        """Return the same as `holder`, but read the files again; call it outside of the event loop.

        :raises OSError: one of them cannot be read.
        """
        token, passphrase = _read(self._token_file, key_of, trusted=False), None
        try:
            passphrase = _read(self._setup_file, key_of)
        except paths.NotTrustedError:
            passphrase = _confirmed(_read(self._setup_file, key_of, trusted=False), token)
        named = _read(self._tokens_file, users.parse, MAX_TOKENS_FILE) if self._tokens_file else None
        return self._holder(name, self._pending(token, passphrase), token, passphrase, named or {})

    def _holder(
        self,
        name: str,
        pending: bool,
        token: TokenKey | None,
        passphrase: TokenKey | None,
        named: Mapping[str, Holder],
    ) -> Holder | None:
        if pending:
            return Holder(passphrase.secret, FIRST_RUN) if passphrase and name == FIRST_RUN.name else None
        if name == ADMIN.name:
            return token.admin if token else None
        if name == FIRST_SETUP.user.name:
            return FIRST_SETUP if self._is_unset(pending) else None
        found = named.get(name)
        return found if found and expiry.counts(found) else None

    def _tokens(self) -> Mapping[str, Holder]:
        return (_get(self._named) if self._named else None) or {}

    def _named_holder(self, method: str, path: str, credential: Credential) -> Holder | None:
        digest = secret_of(credential.value)
        found = None
        for each in self._tokens().values():
            if credential.kind == "token":
                matches = hmac.compare_digest(each.key, digest)
            else:
                expected = hash_with(each.key, method, PREFIX + path).encode()
                matches = hmac.compare_digest(expected, credential.value)
            found = each if matches else found
        return found if found and expiry.counts(found) else None

    def set_token(self, token: str, holder: Holder) -> None:
        """Store a new token, durably; blocks.

        :param holder: as `authenticate` returned it; it must still be valid.
        :raises ApiError: 403, the token was changed, or the first setup made, in the meantime.
        :raises OSError: the old token is still valid.
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
                paths.sync_directory(self._setup_file.parent)

    def setup_state(self) -> Literal["open", "passphrase", "done"]:
        """Return whether anybody may make the first setup, or it needs the passphrase, or it was made."""
        if self.first_run_pending():
            return "passphrase"
        return "open" if self.is_unset() else "done"

    def is_unset(self) -> bool:
        """Return whether any client may still make the first setup."""
        return _get(self._token) is None and self._is_unset(self.first_run_pending())

    def _is_unset(self, pending: bool) -> bool:
        """Return whether the token file does not exist at all: an empty one may be an accident."""
        if pending or self.first_run:
            return False
        try:
            self._token_file.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            pass
        return False


def _confirmed(claimed: TokenKey | None, token: TokenKey | None) -> TokenKey | None:
    """Return a passphrase that somebody else wrote if it equals `api.token`: who may write that needs no passphrase.

    The original's user stores it in both.
    """
    return claimed if claimed == token else None


def _get(file: files.CachedFile[T]) -> T | None:
    """Return the value of a file, or None if it cannot be read."""
    try:
        return file.get()
    except OSError:
        return None


def _read(path: Path, parse: Callable[[bytes], T], limit: int = MAX_FILE, trusted: bool = True) -> T | None:
    """Read a file again and return its value, or None if it is missing.

    :raises OSError: it exists and cannot be read.
    """
    try:
        # The original's user may own `api.token`, whose group may write it anyway.
        return parse(paths.read_trusted(path, limit) if trusted else paths.read_regular(path, limit, follow=True))
    except (FileNotFoundError, NotADirectoryError):
        return None


def new_passphrase(words: int) -> str:
    """Return a passphrase of `words` words of the EFF large word list, joined by `-`."""
    import secrets

    from xkcdpass import xkcd_password as xkcd

    wordlist = xkcd.generate_wordlist(wordfile=xkcd.locate_wordfile("eff-long"), min_length=1, max_length=20)
    return "-".join(secrets.choice(wordlist) for _ in range(words))

"""The file of named tokens, which the host reads for each request."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from contextlib import suppress
from typing import Any

from jidoteki.hookspecs import ApiError, Appliance
from jidoteki.hookspecs.named_tokens import FILE, MAX_TOKENS
from jidoteki.hookspecs.paths import open_trusted

BYTES = 32


class Store:
    """A store that contains the keys of hashes and signatures in place of the tokens themselves."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._path = appliance.etc / FILE
        self._lock = threading.Lock()

    def described(self) -> dict[str, dict[str, Any]]:
        """Return the tokens by name, without their keys."""
        return {
            name: {key: entry.get(key) for key in ("scopes", "created", "expires") if key in entry or key != "expires"}
            for name, entry in sorted(self._read().items())
        }

    def check_new(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the tokens by name, to which one of this name can be added.

        :raises ApiError: 400, there is one of that name, or there are too many.
        """
        tokens = self._read()
        if name in tokens:
            raise ApiError(400, f"name: there is a token called {name} already; revoke it first", field="/name")
        if len(tokens) >= MAX_TOKENS:
            raise ApiError(400, f"There are {MAX_TOKENS} tokens already; revoke one first")
        return tokens

    def check_known(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the tokens by name, among which there is one of this name.

        :raises ApiError: 404, there is none.
        """
        tokens = self._read()
        if name not in tokens:
            raise ApiError(404, f"name: there is no token called {name}", field="/name")
        return tokens

    def add(self, name: str, scopes: list[str], expires: int | None = None) -> str:
        """Create a token and return it: it cannot be retrieved again.

        :param expires: seconds since the epoch; None for never.
        :raises ApiError: 400, there is one of that name, or there are too many.
        :raises OSError: it cannot be stored.
        """
        with self._lock:
            tokens = self.check_new(name)
            token = secrets.token_urlsafe(BYTES)
            key = hashlib.sha256(token.encode()).hexdigest()
            entry = {"key": key, "scopes": scopes, "created": int(time.time())}
            self._write({**tokens, name: entry if expires is None else {**entry, "expires": expires}})
        return token

    def revoke(self, name: str) -> None:
        """Revoke a token.

        :raises ApiError: 404, there is none of that name.
        :raises OSError: it is still valid.
        """
        with self._lock:
            tokens = self.check_known(name)
            del tokens[name]
            self._write(tokens)

    def _read(self) -> dict[str, dict[str, Any]]:
        content = self._appliance.read_json(self._path)
        tokens = content.get("tokens") if isinstance(content, dict) else None
        found = tokens if isinstance(tokens, dict) else {}
        return {str(name): entry for name, entry in found.items() if isinstance(entry, dict)}

    def _write(self, tokens: dict[str, dict[str, Any]]) -> None:
        with suppress(OSError):  # a replaced file keeps its mode
            descriptor = open_trusted(self._path)
            try:
                os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
        self._appliance.replace_file(self._path, json.dumps({"tokens": tokens}, indent=1) + "\n", mode=0o600)

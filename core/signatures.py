"""Signed requests: HTTP Message Signatures (RFC 9421) with HMAC-SHA256, each of which counts once.

A signature covers `@method`, `@authority`, `@path` and `@query`, and `content-digest` (RFC 9530) where there is a body;
it says when it was `created`, has a `nonce`, and names the token that it is made with (`keyid`: `admin`, or the name of
a named token). The key is what keys `?hash=` too: the hexadecimal SHA-256 of the token.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from aiohttp import web

from jidoteki.core import files

WINDOW = 300
MAX_NONCES = 200_000
COVERED = ("@method", "@authority", "@path", "@query")
_NONCE = re.compile(r"[\x21-\x7e]{16,128}")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")

KeyOf = Callable[[str], bytes | None]


class NotSigned(Exception):
    """The signature does not prove anything; says why, for the log alone."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A valid signature.

    :param digest: SHA-256 that the body must have; None when there is no body.
    """

    keyid: str
    nonce: str
    created: int
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class _Message:
    """A request as the library wants it."""

    method: str
    url: str
    headers: Any


def verify(request: web.BaseRequest, key_of: KeyOf) -> Signed:
    """Verify the signature of a request.

    :param key_of: returns the key of a keyid.
    :raises NotSigned: it is missing, wrong, too old, or covers too little.
    """
    library: Any = import_module("http_message_signatures")

    class Keys(library.HTTPSignatureKeyResolver):  # type: ignore[misc]  # imported late, so Any
        def resolve_public_key(self, key_id: str) -> bytes:
            key = key_of(key_id)
            if key is None:
                raise NotSigned("nobody has this key")
            return key

    body = request.can_read_body
    covered = (*COVERED, "content-digest") if body else COVERED
    verifier = library.HTTPMessageVerifier(signature_algorithm=library.algorithms.HMAC_SHA256, key_resolver=Keys())
    url = f"{request.scheme}://{request.host}{request.raw_path}"
    try:
        results = verifier.verify(
            _Message(request.method, url, request.headers),
            max_age=timedelta(seconds=WINDOW),
            require_components=covered,
        )
    except NotSigned:
        raise
    except Exception as error:  # the library's parsers raise what they like on hostile headers
        raise NotSigned(f"{type(error).__name__}: {error}") from error
    return _signed(results, request.headers.get("Content-Digest", "") if body else None)


def _signed(results: Any, digest_header: str | None) -> Signed:
    if len(results) != 1:
        raise NotSigned("there must be exactly one signature")
    parameters = results[0].parameters
    keyid, nonce, created = (parameters.get(name) for name in ("keyid", "nonce", "created"))
    if not isinstance(keyid, str) or not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
        raise NotSigned("keyid and nonce (16 to 128 printable characters) must be there")
    if not isinstance(created, int) or abs(time.time() - created) > WINDOW:
        raise NotSigned(f"it was not created within the last {WINDOW} seconds")
    return Signed(keyid, nonce, created, None if digest_header is None else _digest(digest_header))


def _digest(header: str) -> bytes:
    match = _DIGEST.fullmatch(header.strip())
    if match is None:
        raise NotSigned("Content-Digest must be one sha-256 digest")
    return base64.b64decode(match[1])


class Nonces:
    """The nonces of the last minutes, kept in a file so that a restart does not let a request be replayed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._expiries: dict[str, float] = {}
        self._lock = asyncio.Lock()
        self._load()

    def _load(self) -> None:
        now = time.time()
        try:
            lines = self._path.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines[-MAX_NONCES:]:
            expiry, _, nonce = line.partition(" ")
            if expiry.isdecimal() and int(expiry) > now:
                self._expiries[nonce] = int(expiry)

    def use(self, signed: Signed) -> bool:
        """Note a nonce; False when it was used, or too many are remembered."""
        now = time.time()
        if signed.nonce in self._expiries:
            return False
        if len(self._expiries) >= MAX_NONCES:
            self._expiries = {nonce: expiry for nonce, expiry in self._expiries.items() if expiry > now}
            if len(self._expiries) >= MAX_NONCES:
                return False
        self._expiries[signed.nonce] = signed.created + 2 * WINDOW
        return True

    async def keep(self, signed: Signed) -> None:
        """Make a noted nonce outlive this process; to be awaited before anything is done for its request.

        :raises OSError: it cannot be stored.
        """
        async with self._lock:
            await asyncio.to_thread(self._append, f"{signed.created + 2 * WINDOW} {signed.nonce}\n")

    def _append(self, line: str) -> None:
        if self._path.exists() and self._path.stat().st_size > 64 * MAX_NONCES:
            now = time.time()
            lines = [f"{int(expiry)} {nonce}\n" for nonce, expiry in self._expiries.items() if expiry > now]
            files.replace_file(self._path, "".join(lines).encode(), 0o600)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            files.write_all(descriptor, line.encode())
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

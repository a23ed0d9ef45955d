"""The nonces of signed requests: each is valid once, even across restarts; each key has a limit of its own."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import defaultdict
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from jidoteki.core import files
from jidoteki.core.auth.signatures import WINDOW, Signed
from jidoteki.hookspecs import paths
from jidoteki.hookspecs.named_tokens import ADMINISTRATOR

#: Nonces within two windows: 33 requests per second of a named token, 333 of the administrator's.
MAX_OF_A_TOKEN = 20_000
MAX_OF_ADMINISTRATOR = 200_000
DIGEST = 16
_FILE = re.compile(r"nonces-([0-9]{1,12})")
_LINE = re.compile(rb"([a-z][a-z0-9-]{0,31}) ([0-9a-f]{32})")
MAX_FILE = 64 * 1024 * 1024


class TooManyNoncesError(Exception):
    """A key that has signed more requests within the last minutes than can be remembered."""


class Nonces:
    """The nonces that could still be replayed, in one file per time slot, which is removed once the slot has expired.

    :param directory: a directory of the service.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = asyncio.Lock()
        self._seen: dict[int, dict[str, set[bytes]]] = {}
        """By time slot and key."""
        self._load()

    def use(self, signed: Signed) -> bool:
        """Remember a nonce; return False when it was used before.

        :raises TooManyNoncesError: no more can be remembered.
        """
        self._forget()
        digest = _digest(signed)
        if any(digest in slot[signed.keyid] for slot in self._seen.values() if signed.keyid in slot):
            return False
        limit = MAX_OF_ADMINISTRATOR if signed.keyid == ADMINISTRATOR else MAX_OF_A_TOKEN
        if sum(len(slot[signed.keyid]) for slot in self._seen.values() if signed.keyid in slot) >= limit:
            raise TooManyNoncesError
        self._seen.setdefault(_slot(signed), defaultdict(set))[signed.keyid].add(digest)
        return True

    async def keep(self, signed: Signed) -> None:
        """Store a remembered nonce durably; await it before the request is processed.

        :raises OSError: it cannot be stored.
        """
        line = f"{signed.keyid} {_digest(signed).hex()}\n".encode()
        async with self._lock:
            await asyncio.to_thread(self._append, _slot(signed), line)

    def _load(self) -> None:
        now = int(time.time()) // WINDOW
        for path in self._directory.glob("nonces-*"):
            match = _FILE.fullmatch(path.name)
            if match and now <= int(match[1]) <= now + 2:
                self._seen[int(match[1])] = _read(path)
            elif match:
                with suppress(OSError):
                    path.unlink()

    def _forget(self) -> None:
        now = int(time.time()) // WINDOW
        for slot in [each for each in self._seen if each < now]:
            del self._seen[slot]
            with suppress(OSError):
                (self._directory / f"nonces-{slot}").unlink()

    def _append(self, slot: int, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._directory / f"nonces-{slot}", flags, 0o600)
        try:
            files.write_all(descriptor, line)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _slot(signed: Signed) -> int:
    """Return the time at which the request expires, in windows."""
    return (signed.created + WINDOW) // WINDOW


def _digest(signed: Signed) -> bytes:
    return blake2b(signed.nonce.encode(), digest_size=DIGEST).digest()


def _read(path: Path) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = defaultdict(set)
    with suppress(OSError):
        for line in paths.read_regular(path, MAX_FILE).splitlines():
            match = _LINE.fullmatch(line)
            if match:
                found[match[1].decode()].add(bytes.fromhex(match[2].decode()))
    return found

"""Tickets: each lets its bearer make one request of one path, in the place of whoever it was made for.

They are kept in memory, as digests, and are worth nothing after a restart of the service.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Final

from jidoteki.core.auth.users import Holder

MAX_OF_A_CREDENTIAL: Final = 32
MAX_IN_ALL: Final = 512
MAX_LENGTH: Final = 64


class TooManyTicketsError(Exception):
    """So many tickets wait for their use that there may be no more."""


@dataclass(frozen=True, slots=True)
class _Ticket:
    holder: Holder
    path: str
    until: float


class Tickets:
    """The tickets that were made and not used yet."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Ticket] = {}

    def issue(self, holder: Holder, path: str, seconds: float) -> str:
        """Make a ticket.

        :param path: without the prefix, and without a slash at its end.
        :param seconds: how long it may wait for its use.
        :raises TooManyTicketsError: of this credential, or of all.
        """
        self._forget()
        own = sum(each.holder == holder for each in self._waiting.values())
        if own >= MAX_OF_A_CREDENTIAL or len(self._waiting) >= MAX_IN_ALL:
            raise TooManyTicketsError
        ticket = secrets.token_urlsafe(32)
        self._waiting[_digest(ticket)] = _Ticket(holder, path, time.monotonic() + seconds)
        return ticket

    def redeem(self, ticket: str, path: str) -> Holder | None:
        """Return whom a ticket was made for, and make it worthless; None if it is worth nothing for this path."""
        if not ticket.isascii() or len(ticket) > MAX_LENGTH:
            return None
        self._forget()
        digest = _digest(ticket)
        found = self._waiting.get(digest)
        if found is None or found.path != path:
            return None
        del self._waiting[digest]
        return found.holder

    def _forget(self) -> None:
        now = time.monotonic()
        for digest in [each for each, ticket in self._waiting.items() if ticket.until < now]:
            del self._waiting[digest]


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()

"""Tickets: each authorizes one request of one path, with the rights of the credential that it was issued for.

They are kept in memory, as digests, and become invalid when the service restarts.
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
    """The limit of unused tickets is reached."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket authorizes.

    :param until: monotonic time in seconds.
    :param filename: what the downloaded file is called in place of its usual name; empty for that.
    """

    holder: Holder
    path: str
    until: float
    filename: str


class Tickets:
    """The issued tickets that were not used yet."""

    def __init__(self) -> None:
        self._unused: dict[bytes, Ticket] = {}

    def issue(self, holder: Holder, path: str, seconds: float, filename: str = "") -> str:
        """Return a new ticket.

        :param path: without the prefix and without a trailing slash.
        :param seconds: its lifetime.
        :param filename: of the downloaded file; empty for its usual one.
        :raises TooManyTicketsError: the credential has too many, or all together.
        """
        self._drop_expired()
        own = sum(each.holder == holder for each in self._unused.values())
        if own >= MAX_OF_A_CREDENTIAL or len(self._unused) >= MAX_IN_ALL:
            raise TooManyTicketsError
        ticket = secrets.token_urlsafe(32)
        self._unused[_digest(ticket)] = Ticket(holder, path, time.monotonic() + seconds, filename)
        return ticket

    def redeem(self, ticket: str, path: str) -> Ticket | None:
        """Invalidate a ticket and return it; None if it is not valid for this path."""
        if not ticket.isascii() or len(ticket) > MAX_LENGTH:
            return None
        self._drop_expired()
        digest = _digest(ticket)
        found = self._unused.get(digest)
        if found is None or found.path != path:
            return None
        del self._unused[digest]
        return found

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for digest in [each for each, ticket in self._unused.items() if ticket.until < now]:
            del self._unused[digest]


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()

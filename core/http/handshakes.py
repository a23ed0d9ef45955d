"""Which TLS handshakes are under way, and which have to wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

AT_ONCE = 256
YIELDS_AFTER = 1.0


class Connection(Protocol):
    """A connection that is to have a handshake."""

    @property
    def network(self) -> str:
        """Whom it comes from."""

    def is_closing(self) -> bool:
        """Whether it is given up already."""

    def shake_hands(self) -> None:
        """Begin the handshake."""

    def reset(self) -> None:
        """Give it up."""


class Handshakes:
    """The handshakes under way, each of which takes 50 KiB: further ones wait until one ends, or has to yield.

    Networks take turns, and who has most of them yields first: nobody's slow handshakes are anybody else's wait.
    """

    def __init__(self) -> None:
        self._begun: dict[str, dict[Connection, float]] = {}
        self._waiting: dict[str, deque[Connection]] = {}
        self._count = 0

    def begin(self, connection: Connection) -> None:
        """Let a handshake begin now or later."""
        self._waiting.setdefault(connection.network, deque()).append(connection)
        self.go_on()

    def end(self, connection: Connection) -> None:
        """One is over or given up."""
        if self._forget(connection):
            self.go_on()

    def go_on(self) -> None:
        """Let those begin that can; called about once a second, too."""
        now = asyncio.get_running_loop().time()
        going_on = True
        while going_on:
            going_on = False
            for network in list(self._waiting):
                if self._count >= AT_ONCE and not self._make_room(network, now):
                    continue
                going_on = True
                self._begin_next(network, now)

    def _begin_next(self, network: str, now: float) -> None:
        queue = self._waiting[network]
        waiting = queue.popleft()
        if not queue:
            del self._waiting[network]
        if not waiting.is_closing():
            self._begun.setdefault(network, {})[waiting] = now
            self._count += 1
            waiting.shake_hands()

    def _make_room(self, network: str, now: float) -> bool:
        """Give up the oldest handshake of whoever has most, for one of a network that has fewer, or if it is slow."""
        most = max(self._begun, key=lambda each: len(self._begun[each]))
        oldest, since = next(iter(self._begun[most].items()))
        if len(self._begun[most]) <= len(self._begun.get(network, ())) + 1 and now - since < YIELDS_AFTER:
            return False
        self._forget(oldest)
        oldest.reset()
        return True

    def _forget(self, connection: Connection) -> bool:
        begun = self._begun.get(connection.network, {})
        if begun.pop(connection, None) is None:
            return False
        if not begun:
            del self._begun[connection.network]
        self._count -= 1
        return True

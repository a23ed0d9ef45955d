"""The TLS handshakes in progress, and a queue for more."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

AT_ONCE = 256
YIELDS_AFTER = 1.0


class Connection(Protocol):
    """A connection that needs a TLS handshake."""

    @property
    def network(self) -> str:
        """The client's network."""

    def is_closing(self) -> bool:
        """Return whether it is already closing."""

    def shake_hands(self) -> None:
        """Start the handshake."""

    def reset(self) -> None:
        """Reset the connection."""


class Handshakes:
    """The handshakes in progress, each of which takes 50 KiB: more must wait until one ends or is evicted.

    Networks take turns, and the one with the most handshakes is evicted first: no one's slow handshakes delay others.
    """

    def __init__(self) -> None:
        self._running: dict[str, dict[Connection, float]] = {}
        self._waiting: dict[str, deque[Connection]] = {}
        self._count = 0

    def begin(self, connection: Connection) -> None:
        """Start a handshake, now or later."""
        self._waiting.setdefault(connection.network, deque()).append(connection)
        self.go_on()

    def end(self, connection: Connection) -> None:
        """Remove a handshake that has ended or was aborted."""
        if self._remove(connection):
            self.go_on()

    def go_on(self) -> None:
        """Start as many queued handshakes as possible; called about once a second, too."""
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
            self._running.setdefault(network, {})[waiting] = now
            self._count += 1
            waiting.shake_hands()

    def _make_room(self, network: str, now: float) -> bool:
        """Evict the oldest handshake of the network with the most, for a network with fewer, or if it is slow."""
        most = max(self._running, key=lambda each: len(self._running[each]))
        oldest, since = next(iter(self._running[most].items()))
        if len(self._running[most]) <= len(self._running.get(network, ())) + 1 and now - since < YIELDS_AFTER:
            return False
        self._remove(oldest)
        oldest.reset()
        return True

    def _remove(self, connection: Connection) -> bool:
        begun = self._running.get(connection.network, {})
        if begun.pop(connection, None) is None:
            return False
        if not begun:
            del self._running[connection.network]
        self._count -= 1
        return True

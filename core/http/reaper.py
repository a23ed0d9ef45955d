"""The reaper of connections: it resets those of stalled clients, and ends all at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jidoteki.core.http.connection import Connection
from jidoteki.core.http.handshakes import Handshakes
from jidoteki.core.http.input_budget import InputBudget
from jidoteki.core.http.limits import Limits

EACH = 1.0
STEP = 0.05

#: A response may stall for longer than a body, because buffers on the network path drain in large steps.
STALL = 3


class Reaper:
    """The registry of all connections.

    :param limits: returns the current limits.
    """

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits
        self._connections: set[Connection] = set()
        self._looking: asyncio.Task[None] | None = None
        self.budget = InputBudget()
        self.handshakes = Handshakes()

    def add(self, connection: Connection) -> None:
        """Register a new connection."""
        self._connections.add(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a lost connection."""
        self._connections.discard(connection)

    def start(self) -> None:
        """Start checking the connections."""
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(EACH)
            limits = self._limits()
            now = loop.time()
            for connection in list(self._connections):
                connection.check(now, STALL * limits.idle, limits.rate)
            self.handshakes.go_on()

    async def end(self, grace: float) -> None:
        """End all connections: idle ones immediately, busy ones once they are idle, the rest after the grace period.

        :param grace: seconds for busy connections.
        """
        deadline = asyncio.get_running_loop().time() + grace
        while True:
            for connection in list(self._connections):
                connection.close_if_idle()
            if not self._connections or asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(STEP)
        for connection in list(self._connections):
            connection.reset()
        if self._looking:
            self._looking.cancel()

"""What looks after all connections: it cuts off clients that keep them waiting, and ends them when the service ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jidoteki.core.http.connection import Connection
from jidoteki.core.http.handshakes import Handshakes
from jidoteki.core.http.input_budget import InputBudget
from jidoteki.core.http.limits import Limits

EACH = 1.0
STEP = 0.05

#: An answer may stand still for longer than a body: buffers on its way are emptied in large steps.
STALL = 3


class Reaper:
    """All connections of the service.

    :param limits: returns what is in force now.
    """

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits
        self._connections: set[Connection] = set()
        self._looking: asyncio.Task[None] | None = None
        self.budget = InputBudget()
        self.handshakes = Handshakes()

    def add(self, connection: Connection) -> None:
        """Look after a new connection."""
        self._connections.add(connection)

    def remove(self, connection: Connection) -> None:
        """Look after it no more: it is lost."""
        self._connections.discard(connection)

    def start(self) -> None:
        """Begin to look."""
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
        """End all connections: idle ones now, those that are being served once they are, and all after a while.

        :param grace: seconds for those that are being served.
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

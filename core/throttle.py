"""Slows down guessing: after a failed guess, the requests of that address take turns, one for each pause."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_ADDRESSES = 10_000
MAX_WAITING = 16


class TooManyGuesses(Exception):
    """So many requests of this address wait for their turn that this one is refused unheard."""


class _Turns:
    __slots__ = ("free_at", "lock", "waiting")

    def __init__(self) -> None:
        self.free_at = 0.0
        self.lock = asyncio.Lock()
        self.waiting = 0


class Throttle:
    """At most one failed guess for each pause and address, over any number of connections.

    A right guess during the pause waits for its turn like a wrong one, or it could be told from it.

    :param pause: seconds.
    """

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self._turns: OrderedDict[str, _Turns] = OrderedDict()

    def is_free(self, address: str) -> bool:
        """Whether a request of this address may be judged at once."""
        if not self._turns:
            return True
        turns = self._turns.get(_network(address))
        return turns is None or (not turns.waiting and asyncio.get_running_loop().time() >= turns.free_at)

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait until this address may guess again.

        :raises TooManyGuesses: too many of its requests wait already.
        """
        turns = self._turns.get(_network(address)) or _Turns()
        if turns.waiting >= MAX_WAITING:
            raise TooManyGuesses
        turns.waiting += 1
        try:
            async with turns.lock:
                await asyncio.sleep(max(0.0, turns.free_at - asyncio.get_running_loop().time()))
                yield
        finally:
            turns.waiting -= 1

    def failed(self, address: str) -> None:
        """Note a failed guess, in the same step of the event loop that judged it."""
        key = _network(address)
        now = asyncio.get_running_loop().time()
        turns = self._turns.setdefault(key, _Turns())
        turns.free_at = now + self.pause
        self._turns.move_to_end(key)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._turns:
            key, oldest = next(iter(self._turns.items()))
            expired = now >= oldest.free_at and not oldest.waiting
            if not expired and len(self._turns) <= MAX_ADDRESSES:
                return
            del self._turns[key]


def _network(address: str) -> str:
    """The address, or the /64 that an IPv6 client picks its addresses from."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))

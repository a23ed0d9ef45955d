"""Throttling of guesses: after a failure, the requests of that address take turns, one for each pause."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from jidoteki.core.addresses import network_of

MAX_ADDRESSES = 10_000
MAX_WAITING = 16
LOOK_EACH = 0.25


class TooManyGuessesError(Exception):
    """A request that is refused because too many of the same address wait for their turn."""


class ClientGoneError(Exception):
    """A client that hung up while it waited for its turn."""


class _Turns:
    __slots__ = ("free_at", "waiting")

    def __init__(self) -> None:
        self.free_at = 0.0
        self.waiting: deque[object] = deque()


class Throttle:
    """A limit of one failed guess for each pause and address, over any number of connections.

    A right guess during the pause waits like a wrong one, or the wait would tell them apart; so do the requests of
    others who share the address.

    :param pause: returns the pause, in seconds.
    """

    def __init__(self, pause: Callable[[], float]) -> None:
        self._pause = pause
        self._turns: OrderedDict[str, _Turns] = OrderedDict()

    @property
    def retry_after(self) -> int:
        """Whole seconds after which another guess is certainly accepted."""
        return int(self._pause()) + 1

    def is_free(self, address: str) -> bool:
        """Return whether a request of this address may be authenticated without waiting."""
        if not self._turns:
            return True
        turns = self._turns.get(network_of(address))
        return turns is None or (not turns.waiting and asyncio.get_running_loop().time() >= turns.free_at)

    @asynccontextmanager
    async def turn(self, address: str, gone: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait until this address may guess again.

        :param gone: returns whether the client has hung up; its turn is then given up.
        :raises TooManyGuessesError: too many of its requests wait already.
        :raises ClientGoneError: the client hung up.
        """
        turns = self._turns.get(network_of(address)) or _Turns()
        if len(turns.waiting) >= MAX_WAITING:
            raise TooManyGuessesError
        place = object()
        turns.waiting.append(place)
        try:
            await self._wait(turns, place, gone)
            yield
        finally:
            turns.waiting.remove(place)

    async def _wait(self, turns: _Turns, place: object, gone: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        while turns.waiting[0] is not place or loop.time() < turns.free_at:
            left = turns.free_at - loop.time() if turns.waiting[0] is place else LOOK_EACH
            await asyncio.sleep(min(max(left, 0.0), LOOK_EACH))
            if gone():
                raise ClientGoneError

    def failed(self, address: str) -> None:
        """Record a failed guess; call it in the step of the event loop that checked it."""
        key = network_of(address)
        now = asyncio.get_running_loop().time()
        turns = self._turns.setdefault(key, _Turns())
        turns.free_at = now + self._pause()
        self._turns.move_to_end(key)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._turns:
            key, oldest = next(iter(self._turns.items()))
            expired = now >= oldest.free_at and not oldest.waiting
            if not expired and len(self._turns) <= MAX_ADDRESSES:
                return
            del self._turns[key]

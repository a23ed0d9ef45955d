"""Slows down guessing: after a failed guess, the requests of that address take turns, one for each pause."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from jidoteki.core.addresses import network_of

MAX_ADDRESSES = 10_000
MAX_WAITING = 16
LOOK_EACH = 0.25


class TooManyGuesses(Exception):
    """So many requests of this address wait for their turn that this one is refused unheard."""


class Gone(Exception):
    """The client hung up while it waited for its turn."""


class _Turns:
    __slots__ = ("free_at", "waiting")

    def __init__(self) -> None:
        self.free_at = 0.0
        self.waiting: deque[object] = deque()


class Throttle:
    """At most one failed guess for each pause and address, over any number of connections.

    A right guess during the pause waits for its turn like a wrong one, or it could be told from it: whoever shares an
    address with a guesser cannot be told from him either.

    :param pause: returns the pause, in seconds.
    """

    def __init__(self, pause: Callable[[], float]) -> None:
        self._pause = pause
        self._turns: OrderedDict[str, _Turns] = OrderedDict()

    @property
    def retry_after(self) -> int:
        """Whole seconds after which another guess is heard for certain."""
        return int(self._pause()) + 1

    def is_free(self, address: str) -> bool:
        """Whether a request of this address may be judged at once."""
        if not self._turns:
            return True
        turns = self._turns.get(network_of(address))
        return turns is None or (not turns.waiting and asyncio.get_running_loop().time() >= turns.free_at)

    @asynccontextmanager
    async def turn(self, address: str, gone: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait until this address may guess again.

        :param gone: whether the client has hung up; it then keeps nobody waiting.
        :raises TooManyGuesses: too many of its requests wait already.
        :raises Gone: the client hung up.
        """
        turns = self._turns.get(network_of(address)) or _Turns()
        if len(turns.waiting) >= MAX_WAITING:
            raise TooManyGuesses
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
                raise Gone

    def failed(self, address: str) -> None:
        """Note a failed guess, in the same step of the event loop that judged it."""
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

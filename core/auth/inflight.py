"""What is under way: whoever's credential is changed or revoked meanwhile is cut off, within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EACH = 0.4

InForce = Callable[[], bool]


class InFlight:
    """Looks again and again whether those whose requests are under way may still make them."""

    def __init__(self) -> None:
        self._watched: dict[object, tuple[InForce, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watched(self, in_force: InForce, end: Callable[[], None]) -> Iterator[None]:
        """Watch a request for a while.

        :param in_force: whether its credential still counts.
        :param end: called once if it does not.
        """
        key = object()
        self._watched[key] = in_force, end
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EACH, self._look)
        try:
            yield
        finally:
            self._watched.pop(key, None)

    def _look(self) -> None:
        for key, (in_force, end) in list(self._watched.items()):
            if not in_force():
                del self._watched[key]
                end()
        self._timer = asyncio.get_running_loop().call_later(EACH, self._look) if self._watched else None

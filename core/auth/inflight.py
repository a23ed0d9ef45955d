"""Requests in flight: they are ended within a second after their credential is changed or revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EACH = 0.4

InForce = Callable[[], bool]


class InFlight:
    """Checks periodically whether the requests in flight are still authorized."""

    def __init__(self) -> None:
        self._watched: dict[object, tuple[InForce, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watched(self, in_force: InForce, end: Callable[[], None]) -> Iterator[None]:
        """Watch a request in a `with` block.

        :param in_force: returns whether its credential is still valid.
        :param end: called once if it is not.
        """
        key = object()
        self._watched[key] = in_force, end
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EACH, self._check)
        try:
            yield
        finally:
            self._watched.pop(key, None)

    def _check(self) -> None:
        for key, (in_force, end) in list(self._watched.items()):
            if not in_force():
                del self._watched[key]
                end()
        self._timer = asyncio.get_running_loop().call_later(EACH, self._check) if self._watched else None

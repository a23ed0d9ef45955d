"""A limit to the memory that holds input of unauthenticated clients."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

MIB = 1024 * 1024
LIMIT = 4 * MIB


class Holder(Protocol):
    """An owner of such memory.

    :param network: the client's.
    """

    network: str

    def reset(self) -> None:
        """Release it, and reset the connection."""


class InputBudget:
    """The memory that holds unfinished TLS records and headers, headers of waiting requests, and pipelined input.

    When it exceeds the limit, connections of the network that uses most are reset, the oldest first: a header of an
    honest client arrives at once or within moments.

    :param limit: bytes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._held: dict[Holder, int] = {}
        self._by_network: Counter[str] = Counter()
        self._total = 0

    def hold(self, holder: Holder, size: int) -> None:
        """Set how many bytes an owner holds now; 0 for none."""
        before = self._held.get(holder, 0)
        if size == before:
            return
        self._add(holder, size - before)
        if size:
            self._held[holder] = size
        else:
            del self._held[holder]
        while self._total > self._limit:
            most = max(self._by_network, key=self._by_network.__getitem__)
            oldest = next(each for each in self._held if each.network == most)
            self._add(oldest, -self._held.pop(oldest))
            oldest.reset()

    def _add(self, holder: Holder, size: int) -> None:
        self._total += size
        self._by_network[holder.network] += size
        if not self._by_network[holder.network]:
            del self._by_network[holder.network]

"""How many bytes are kept in all of what clients sent that are not authenticated."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

MIB = 1024 * 1024
LIMIT = 4 * MIB


class Holder(Protocol):
    """Keeps such bytes.

    :param network: of the client that they are from.
    """

    network: str

    def reset(self) -> None:
        """Give them up, with the connection."""


class InputBudget:
    """Unfinished TLS records and headers, headers of requests that wait, and what comes behind those.

    When there is too much of it, whoever keeps some for the longest time is cut off, of the network that keeps most: a
    header of an honest client comes whole, or within moments.

    :param limit: bytes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._held: dict[Holder, int] = {}
        self._by_network: Counter[str] = Counter()
        self._total = 0

    def hold(self, holder: Holder, size: int) -> None:
        """Say how many bytes somebody holds now; 0 for none."""
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

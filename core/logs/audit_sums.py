"""Frequent events in few lines of the audit log: each action once per minute and client, then a count."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

MINUTE = 60.0
#: Clients that get lines of their own, for each action and minute; all others share one line.
MAX_CLIENTS = 20

#: The same for authenticated users, whose number clients cannot increase.
MAX_NAMED = 200

Key = tuple[str, str, str]
"""The network of a client, the user and the target; for an unauthenticated client user `-` and no target."""
STRANGER = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """A line to write."""

    client: str
    user: str
    action: str
    target: str
    count: int = 1
    """How often it happened."""


@dataclass(slots=True)
class _Client:
    client: str
    target: str
    more: int = 0


@dataclass(slots=True)
class _Minute:
    """The events of one action since a point in time."""

    began: float
    clients: dict[Key, _Client] = field(default_factory=dict)
    others: int = 0


class Often:
    """A counter of frequent events.

    Of authenticated users, no user and no target is left out: their number is limited by tokens and endpoints.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[str, _Minute] = {}

    def note(self, action: str, key: Key, client: str, target: str) -> list[Line]:
        """Count an event.

        :return: the lines to write now.
        """
        now = time.monotonic()
        with self._lock:
            lines = list(self._over(action, now))
            minute = self._minutes.setdefault(action, _Minute(now))
            named = key[1] != STRANGER
            if named and key not in minute.clients and len(minute.clients) >= MAX_NAMED:
                key, client = ("-", *key[1:]), "-"
            known = minute.clients.get(key)
            if known:
                known.more += 1
            elif named or len(minute.clients) < MAX_CLIENTS:
                minute.clients[key] = _Client(client, target)
                lines.append(Line(client, key[1], action, target))
            else:
                minute.others += 1
            return lines

    def tell(self, at_once: bool = False) -> list[Line]:
        """Return the lines for the minutes that are over.

        :param at_once: include minutes that are not over.
        """
        now = time.monotonic() + (MINUTE if at_once else 0)
        with self._lock:
            return [line for action in list(self._minutes) for line in self._over(action, now)]

    def _over(self, action: str, now: float) -> Iterator[Line]:
        minute = self._minutes.get(action)
        if minute is None or now - minute.began < MINUTE:
            return
        del self._minutes[action]
        for (_, user, _), each in minute.clients.items():
            if each.more:
                told = f"{each.target} and {each.more} more within {MINUTE:g} seconds"
                yield Line(each.client, user, action, told, each.more)
        if minute.others:
            told = f"{minute.others} of further clients within {MINUTE:g} seconds"
            yield Line("-", "-", action, told, minute.others)

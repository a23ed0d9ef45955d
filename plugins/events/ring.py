"""A ring buffer of the last events, numbered and encoded, for clients that reconnect."""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

MAX_EVENTS: Final = 4096
MAX_BYTES: Final = 1024 * 1024
_ID: Final = re.compile(r"([0-9a-f]{16})-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the ring.

    :param path: a client must be authorized to GET this to receive the event.
    """

    name: str
    path: str
    data: str
    wire: bytes


def frame(name: str, data: str, id: str = "") -> bytes:
    """Return an event in the format of https://html.spec.whatwg.org/multipage/server-sent-events.html.

    :param data: a single line.
    :param id: sent by the client when it reconnects; if empty, the client keeps the previous one.
    """
    line = f"id: {id}\n" if id else ""
    return f"{line}event: {name}\ndata: {data}\n\n".encode()


class Ring:
    """At most 4,096 events and 1 MiB; the oldest are dropped.

    :param boot: the name of this numbering: a client that knows another one may have missed any events.
    :param last: the number of the last event before the first one here.
    """

    def __init__(self, boot: str = "", last: int = 0) -> None:
        self.boot = boot or secrets.token_hex(8)
        self.last = last
        self._entries: deque[Entry] = deque()
        self._size = 0

    def id(self, number: int) -> str:
        return f"{self.boot}-{number}"

    def add(self, name: str, path: str, data: str) -> None:
        self.last += 1
        entry = Entry(name, path, data, frame(name, data, self.id(self.last)))
        self._entries.append(entry)
        self._size += len(entry.wire)
        while len(self._entries) > MAX_EVENTS or self._size > MAX_BYTES:
            self._size -= len(self._entries.popleft().wire)

    def number_of(self, id: str) -> int | None:
        """Return the number of the last event that a client knows; None if later ones were dropped."""
        match = _ID.fullmatch(id)
        if match is None or match[1] != self.boot or not self.has_all_after(int(match[2])):
            return None
        return int(match[2])

    def has_all_after(self, number: int) -> bool:
        """Return whether all events after a number are still here."""
        return self.last - len(self._entries) <= number <= self.last

    def after(self, number: int, limit: int) -> list[Entry]:
        """Return the next events after a number, up to `limit` bytes, but at least one."""
        found: list[Entry] = []
        size = 0
        # From the end, as clients mostly miss few events.
        for entry in reversed(list(islice(reversed(self._entries), self.last - number))):
            size += len(entry.wire)
            if found and size > limit:
                break
            found.append(entry)
        return found

    def entries(self) -> Iterable[Entry]:
        """Return all events, the oldest first."""
        return self._entries

"""The last events, numbered, as they go over the wire: who was away is told from here what it missed."""

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

    :param path: only who may GET this is told of it.
    """

    name: str
    path: str
    data: str
    wire: bytes


def frame(name: str, data: str, id: str = "") -> bytes:
    """An event as https://html.spec.whatwg.org/multipage/server-sent-events.html has it.

    :param data: in one line.
    :param id: what the client shows when it comes again; it keeps the one before where there is none.
    """
    line = f"id: {id}\n" if id else ""
    return f"{line}event: {name}\ndata: {data}\n\n".encode()


class Ring:
    """At most 4,096 events and 1 MiB of them; the oldest make room.

    :param boot: names this numbering: a client that knows another one missed nobody knows what.
    :param last: the number of the last event before the first one here.
    """

    def __init__(self, boot: str = "", last: int = 0) -> None:
        self.boot = boot or secrets.token_hex(8)
        self.last = last
        self._entries: deque[Entry] = deque()
        self._size = 0

    def id(self, number: int) -> str:
        """The id of an event."""
        return f"{self.boot}-{number}"

    def add(self, name: str, path: str, data: str) -> None:
        """Add an event."""
        self.last += 1
        entry = Entry(name, path, data, frame(name, data, self.id(self.last)))
        self._entries.append(entry)
        self._size += len(entry.wire)
        while len(self._entries) > MAX_EVENTS or self._size > MAX_BYTES:
            self._size -= len(self._entries.popleft().wire)

    def number_of(self, id: str) -> int | None:
        """The number of the last event that a client knows; None if what followed is not known any more."""
        match = _ID.fullmatch(id)
        if match is None or match[1] != self.boot or not self.has_all_after(int(match[2])):
            return None
        return int(match[2])

    def has_all_after(self, number: int) -> bool:
        """Whether each event after this one is still here."""
        return self.last - len(self._entries) <= number <= self.last

    def after(self, number: int, limit: int) -> list[Entry]:
        """The next events after one, as many as fit into so many bytes, but one at least."""
        found: list[Entry] = []
        size = 0
        # From the end: what a client has not is most often little.
        for entry in reversed(list(islice(reversed(self._entries), self.last - number))):
            size += len(entry.wire)
            if found and size > limit:
                break
            found.append(entry)
        return found

    def entries(self) -> Iterable[Entry]:
        """All of them, the oldest first."""
        return self._entries

"""Messages of a backup about single members, limited in number: in its log, its response and its archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jidoteki.hookspecs.restorable import MAX_DEPTH, MAX_NAME
from jidoteki.plugins.backup import left_out
from jidoteki.plugins.backup.backup_list import EVERYTHING

MAX_LINES: Final = 100
MAX_NAMES: Final = 100
"""The most lost paths in a response."""
_SHOWN: Final = 3
_SHOWN_LENGTH: Final = 100


class Silent:
    """A receiver of messages that ignores them."""

    def __call__(self, text: str) -> None:
        """Ignore it."""

    def lost(self, name: str, reason: str) -> None:
        """Ignore it."""

    def listing(self) -> bytes:
        """Return an empty list."""
        return b""


class Notes:
    """A receiver of messages.

    :param log: writes a line of the log.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._lines = 0
        self._listing = bytearray()
        self._listed_all = True
        self.names: list[str] = []
        """The first lost paths."""
        self.count = 0
        """The number of lost paths."""

    def __call__(self, text: str) -> None:
        """Log a message, unless there were too many."""
        self._lines += 1
        if self._lines <= MAX_LINES:
            self._log(text)

    def lost(self, name: str, reason: str) -> None:
        """Record a path that belongs to the backup, but cannot be packed."""
        self(f"{name} is left out: {reason}")
        self.count += 1
        if len(self.names) < MAX_NAMES:
            self.names.append(name)
        line = left_out.line(_listable(name))
        if len(self._listing) + len(line) <= left_out.MAX_SIZE:
            self._listing += line
        else:
            self._listed_all = False

    def listing(self) -> bytes:
        """Return the list of all lost paths; if it would be too long, one that says that any may be missing."""
        return bytes(self._listing) if self._listed_all else left_out.line(EVERYTHING)

    def summary(self) -> str:
        """Return a sentence with the number of lost paths and the first of them."""
        shown = ", ".join(f"{name[:_SHOWN_LENGTH]!a}" for name in self.names[:_SHOWN])
        return f"{self.count} of what backup.txt lists cannot be packed: {shown}{', …' if self.count > _SHOWN else ''}"

    def end(self) -> None:
        """Log how many messages were left out."""
        if self._lines > MAX_LINES:
            self._log(f"{self._lines - MAX_LINES} more lines like these are left out")


def _listable(name: str) -> str:
    """Return the path, or its longest parent that is allowed in the list."""
    components = name.split("/")[:MAX_DEPTH]
    while len(components) > 1 and len("/".join(components).encode("utf-8", "surrogateescape")) > MAX_NAME:
        components.pop()
    return "/".join(components)

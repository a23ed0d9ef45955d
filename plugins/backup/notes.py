"""What a backup tells of single members, of which there may be millions: in its log, its answer and its archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jidoteki.hookspecs.restorable import MAX_DEPTH, MAX_NAME
from jidoteki.plugins.backup import left_out
from jidoteki.plugins.backup.listed import EVERYTHING

MAX_LINES: Final = 100
MAX_NAMES: Final = 100
"""How many of the lost are named in an answer."""
_SHOWN: Final = 3
_SHOWN_LENGTH: Final = 100


class Silent:
    """Takes no notes."""

    def __call__(self, text: str) -> None:
        """Forget it."""

    def lost(self, name: str, reason: str) -> None:
        """Forget it."""

    def listing(self) -> bytes:
        """No list."""
        return b""


class Notes:
    """Takes notes, as many as there is room for.

    :param log: writes a line of the log.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._lines = 0
        self._listing = bytearray()
        self._listed_all = True
        self.names: list[str] = []
        """The first that were lost."""
        self.count = 0
        """How many were lost."""

    def __call__(self, text: str) -> None:
        """Write a line of the log."""
        self._lines += 1
        if self._lines <= MAX_LINES:
            self._log(text)

    def lost(self, name: str, reason: str) -> None:
        """Take note of what belongs to the backup and cannot be packed."""
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
        """The list of all that was lost; where it would be too long, it says that anything may be missing."""
        return bytes(self._listing) if self._listed_all else left_out.line(EVERYTHING)

    def summary(self) -> str:
        """How many were lost, and the first of them."""
        shown = ", ".join(f"{name[:_SHOWN_LENGTH]!a}" for name in self.names[:_SHOWN])
        return f"{self.count} of what backup.txt lists cannot be packed: {shown}{', …' if self.count > _SHOWN else ''}"

    def end(self) -> None:
        """Tell of the lines that were left out."""
        if self._lines > MAX_LINES:
            self._log(f"{self._lines - MAX_LINES} more lines like these are left out")


def _listable(name: str) -> str:
    """The path, or as much of it from the top as a list may name."""
    components = name.split("/")[:MAX_DEPTH]
    while len(components) > 1 and len("/".join(components).encode("utf-8", "surrogateescape")) > MAX_NAME:
        components.pop()
    return "/".join(components)

"""The positions of keys and items in a JSON text, for messages about them."""

from __future__ import annotations

import json
import re

MAX_TWICE = 100

Keys = tuple[str | int, ...]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]|[^\s{}\[\],:"]+')


class Positions:
    """Lines and columns in a valid JSON text, both counted from 1 as in editors.

    :param text: JSON that `json.loads` accepts.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._offsets: dict[Keys, int] = {}
        self.twice: list[tuple[Keys, int, int]] = []
        """Duplicate keys, with line and column; the last one counts."""
        self._read()

    def of(self, keys: Keys) -> tuple[int, int]:
        """Return line and column of a key or list item; of its nearest container where it is missing."""
        while keys and keys not in self._offsets:
            keys = keys[:-1]
        return self._line_and_column(self._offsets.get(keys, 0))

    def _line_and_column(self, offset: int) -> tuple[int, int]:
        return self._text.count("\n", 0, offset) + 1, offset - self._text.rfind("\n", 0, offset)

    def _read(self) -> None:
        # For each enclosing object or list: the key or index in it, None where a key is next.
        around: list[str | int | None] = []
        for match in _TOKEN.finditer(self._text):
            piece, offset = match[0], match.start()
            if piece in "]}":
                around.pop()
            elif piece == ",":
                around[-1] = around[-1] + 1 if isinstance(around[-1], int) else None
            elif around and around[-1] is None:
                around[-1] = json.loads(piece)
                self._add(around, offset)
            else:
                if not around or isinstance(around[-1], int):
                    self._add(around, offset)
                if piece in "[{":
                    around.append(0 if piece == "[" else None)

    def _add(self, around: list[str | int | None], offset: int) -> None:
        keys = tuple(each for each in around if each is not None)
        within_other = any(keys[: len(each)] == each for each, _, _ in self.twice)
        if keys in self._offsets and not within_other and len(self.twice) < MAX_TWICE:
            self.twice.append((keys, *self._line_and_column(offset)))
        self._offsets[keys] = offset

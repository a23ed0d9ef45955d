"""What a program said last, for the message of the job that it failed."""

from __future__ import annotations

from typing import Final

#: Bytes of its output that are kept, and characters of its last line in a message.
MAX_KEPT: Final = 4096
MAX_LINE: Final = 200


class LastWords:
    """Keeps the end of a program's output.

    :param size: in bytes.
    """

    def __init__(self, size: int = MAX_KEPT) -> None:
        self._size = size
        self._kept = bytearray()

    def keep(self, chunk: bytes) -> None:
        """Take the next piece of the output."""
        self._kept.extend(chunk)
        del self._kept[: -self._size]

    @property
    def content(self) -> bytes:
        """What is kept."""
        return bytes(self._kept)

    @property
    def text(self) -> str:
        """What is kept, with a mark for each byte that is no UTF-8."""
        return self._kept.decode("utf-8", "replace")

    def failure(self, name: str, status: int) -> str:
        """Return the sentence for a program that failed, with its last line if it printed any.

        :param status: its exit status.
        """
        said = self._last_line()
        return f"{name} failed with exit status {status}{f': {said}' if said else ''}"

    def _last_line(self) -> str:
        lines = (" ".join(line.split()) for line in reversed(self.text.splitlines()))
        last = next((line for line in lines if line), "")
        return "".join(each for each in last if each.isprintable())[:MAX_LINE].rstrip(".")

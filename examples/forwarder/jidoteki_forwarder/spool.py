"""Events that wait to be sent: one file each, so that they survive a restart and a power cut."""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path

from jidoteki.hookspecs import Appliance

logger = logging.getLogger(__name__)


class Spool:
    """A queue in a directory. The oldest entries make room when there are too many.

    :param maximum: the most entries that wait.
    """

    def __init__(self, appliance: Appliance, directory: Path, maximum: int) -> None:
        self.dropped = 0
        self._appliance = appliance
        self._maximum = maximum
        self._lock = threading.Lock()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._waiting = deque(sorted(directory.glob("[0-9]*.json")))
        self._number = int(self._waiting[-1].stem) if self._waiting else 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, content: bytes) -> None:
        """Add an entry; it is on the disk when this returns.

        :raises OSError: it cannot be written.
        """
        with self._lock:
            while len(self._waiting) >= self._maximum:
                self._waiting.popleft().unlink(missing_ok=True)
                self.dropped += 1
                if self.dropped % 1000 == 1:
                    logger.error("Too many events wait in %s: %d were dropped", self._directory, self.dropped)
            self._number += 1
            path = self._directory / f"{self._number:012}.json"
            self._appliance.replace_file(path, content, mode=0o600)
            self._waiting.append(path)

    def oldest(self) -> Path | None:
        """The entry to send next, or None."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def remove(self, path: Path) -> None:
        """Remove an entry that was sent."""
        with self._lock:
            if self._waiting and self._waiting[0] == path:
                self._waiting.popleft()
            path.unlink(missing_ok=True)

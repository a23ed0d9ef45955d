"""The file that an archive is written to: hashed and stored by a thread of its own, while the next part is read."""

from __future__ import annotations

import fcntl
import hashlib
import os
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

CHUNK: Final = 1024 * 1024
PENDING: Final = 4
SYNC_EACH: Final = 64 * CHUNK
"""How many bytes may wait for the disk: the end of a large backup, or its cancelling, must not wait for all of it."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive that was written."""

    size: int
    sha256: str


class Sink:
    """A new file, locked for as long as this process works on it; a context manager.

    :raises OSError: it cannot be created.
    """

    def __init__(self, target: Path) -> None:
        self._descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(PENDING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=0.1)
            self._thread.join(0.1)
        os.close(self._descriptor)

    def write(self, piece: bytes) -> None:
        """Take a piece.

        :raises OSError: an earlier one could not be written.
        """
        self.size += len(piece)
        self._waiting += len(piece)
        self._pieces.append(piece)
        if self._waiting >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        self._hand_over(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def finish(self) -> Packed:
        """Make all of it durable.

        :raises OSError: it could not be written.
        """
        self._flush()
        self._hand_over(None)
        self._thread.join()
        if self._error:
            raise self._error
        os.fsync(self._descriptor)
        return Packed(self.size, self._hash.hexdigest())

    def _hand_over(self, piece: bytes | None) -> None:
        if self._error:
            raise self._error
        self._queue.put(piece)

    def _work(self) -> None:
        unsynced = 0
        while (piece := self._queue.get()) is not None:
            if self._error is not None:
                continue
            try:
                self._hash.update(piece)
                self._store(memoryview(piece))
                unsynced += len(piece)
                if unsynced >= SYNC_EACH:
                    os.fdatasync(self._descriptor)
                    unsynced = 0
            except BaseException as error:
                self._error = error

    def _store(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self._descriptor, view) :]

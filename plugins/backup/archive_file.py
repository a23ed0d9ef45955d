"""The file that an archive is written to, hashed and stored by a thread while the next part is read."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from jidoteki.plugins.backup.error_messages import about
from jidoteki.plugins.backup.sizes import BLOCK

CHUNK: Final = 1024 * 1024
BUFFERS: Final = 6
SYNC_EACH: Final = 16 * CHUNK
"""Bytes after which data are synced, so that the end or the cancellation of a large backup need not wait for all."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The result of writing an archive."""

    size: int
    sha256: str
    on_disk: int
    """Size of its disk blocks in bytes."""


class Sink:
    """A new file, locked while this process writes it; a context manager.

    The caller and the thread reuse the buffers: new ones would cost as much as the content of small files.

    :raises OSError: it cannot be created.
    """

    def __init__(self, target: Path) -> None:
        self._descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._directory = str(target.parent)
        self._hash = hashlib.sha256()
        self._buffer = io.BytesIO()
        self._empty: queue.SimpleQueue[io.BytesIO] = queue.SimpleQueue()
        for _ in range(BUFFERS - 1):
            self._empty.put(io.BytesIO())
        self._full: queue.SimpleQueue[io.BytesIO | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind:
            with suppress(queue.Empty):
                while True:
                    self._full.get_nowait()
        self._full.put(None)
        self._thread.join()
        os.close(self._descriptor)

    def write(self, piece: bytes) -> None:
        """Write a piece.

        :raises OSError: an earlier one could not be written.
        """
        self.size += len(piece)
        self._buffer.write(piece)
        if self._buffer.tell() >= CHUNK:
            if self._error:
                raise self._error
            self._full.put(self._buffer)
            self._buffer = self._empty.get()

    def finish(self) -> Packed:
        """Sync the file to disk and return the result.

        :raises OSError: it could not be written.
        """
        self._full.put(self._buffer)
        self._full.put(None)
        self._thread.join()
        if self._error:
            raise self._error
        with about(self._directory):
            os.fsync(self._descriptor)
        return Packed(self.size, self._hash.hexdigest(), os.fstat(self._descriptor).st_blocks * BLOCK)

    def _work(self) -> None:
        try:
            with about(self._directory):
                self._store_all()
        except BaseException as error:
            self._error = error
            self._empty.put(io.BytesIO())  # wakes a waiting writer, which gets the error with the next piece

    def _store_all(self) -> None:
        unsynced = 0
        synced: Future[None] | None = None
        with ThreadPoolExecutor(1) as disk:
            while (buffer := self._full.get()) is not None:
                unsynced += self._store(buffer)
                buffer.seek(0)
                self._empty.put(buffer)
                if unsynced >= SYNC_EACH:
                    if synced:
                        synced.result()
                    synced = disk.submit(os.fdatasync, self._descriptor)
                    unsynced = 0
        if synced:
            synced.result()  # the kernel reports an error once, so `finish` would miss it

    def _store(self, buffer: io.BytesIO) -> int:
        size = buffer.tell()
        with buffer.getbuffer() as whole, whole[:size] as view:
            self._hash.update(view)
            written = 0
            while written < size:
                written += os.write(self._descriptor, view[written:])
        return size

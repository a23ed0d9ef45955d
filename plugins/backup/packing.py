"""Writing the archive: size and SHA-256 are known the moment the last byte is written, without a second pass."""

from __future__ import annotations

import hashlib
import os
import queue
import tarfile
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jidoteki.plugins.backup.selection import Member, Note

CHUNK = 1024 * 1024
PENDING = 4
END = bytes(2 * tarfile.BLOCKSIZE)


class TooBig(Exception):
    """The archive would leave too little space."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive that was written."""

    size: int
    sha256: str


class _Sink:
    """Collects small pieces, and hashes and writes large ones in a thread of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | bytearray | None] = queue.Queue(PENDING)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Take a piece.

        :raises OSError: an earlier one could not be written.
        """
        self.size += len(piece)
        if len(piece) >= CHUNK and not self._buffer:
            self._hand_over(piece)
            return
        self._buffer += piece
        if len(self._buffer) >= CHUNK:
            self._hand_over(self._buffer)
            self._buffer = bytearray()

    def finish(self) -> str:
        """Write the rest and return the hash of all."""
        self._hand_over(self._buffer)
        self._hand_over(None)
        self._thread.join()
        if self._error:
            raise self._error
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """End the thread, whatever was written."""
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=0.1)
            self._thread.join(0.1)

    def _hand_over(self, piece: bytes | bytearray | None) -> None:
        if self._error:
            raise self._error
        self._queue.put(piece)

    def _work(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._error is None:
                self._hash.update(piece)
                try:
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(self._descriptor, view) :]
                except OSError as error:
                    self._error = error


def pack(members: Iterable[Member], target: Path, limit: int, note: Note, progress: Callable[[int], None]) -> Packed:
    """Write members to a new file, durably.

    :param limit: bytes that the archive may have.
    :param progress: told of the bytes written, often; what it raises ends the packing.
    :raises TooBig: the limit is reached.
    :raises OSError: the archive cannot be written.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        sink = _Sink(descriptor)
        try:
            for member in members:
                _add(member, sink, note, progress)
                if sink.size > limit:
                    raise TooBig
            sink.write(END)
            sha256 = sink.finish()
        finally:
            sink.abandon()
        os.fsync(descriptor)
        return Packed(sink.size, sha256)
    finally:
        os.close(descriptor)


def _add(member: Member, sink: _Sink, note: Note, progress: Callable[[int], None]) -> None:
    if member.info.type != tarfile.REGTYPE:
        sink.write(_header(member.info))
        return
    try:
        descriptor = os.open(member.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        note(f"{member.name} is left out: {error.strerror}")
        return
    try:
        sink.write(_header(member.info))
        _add_content(member, descriptor, sink, note, progress)
    finally:
        os.close(descriptor)


def _add_content(member: Member, descriptor: int, sink: _Sink, note: Note, progress: Callable[[int], None]) -> None:
    """Add as many bytes as the header says: a file may grow or shrink meanwhile."""
    left = member.info.size
    while left:
        chunk = os.read(descriptor, min(CHUNK, left))
        if not chunk:
            note(f"{member.name} became shorter while it was read and is filled up with zeros")
            chunk = bytes(min(CHUNK, left))
        sink.write(chunk)
        left -= len(chunk)
        progress(sink.size)
    padding = -member.info.size % tarfile.BLOCKSIZE
    if padding:
        sink.write(bytes(padding))
    progress(sink.size)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def estimated(members: Iterable[Member]) -> int:
    """How long the archive of these members will about be, in bytes."""
    block = tarfile.BLOCKSIZE
    return sum(block + -(-member.info.size // block) * block for member in members) + len(END)

"""Streams for unpacking: gzip decompression with a limit, and read-ahead in a thread."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, cast

from isal import igzip_lib

CHUNK = 512 * 1024
COMPRESSED_CHUNK = 128 * 1024
AHEAD = 4
PUT_TIMEOUT = 0.1
GZIP = b"\x1f\x8b"

# The type stubs of isal declare the class as an instance.
_IsalError = cast(type[Exception], igzip_lib.IsalError)


class Source(Protocol):
    """A stream that is read from beginning to end."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes; empty at the end."""


class GunzipError(Exception):
    """Content that cannot be decompressed; the message is the reason."""


class GunzipReader:
    """A decompressor of gzip with one or more members, which verifies the checksums.

    :param limit: largest decompressed size in bytes.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = self._left = limit
        self._decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        self._pending = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, at least one; empty at the end.

        :raises GunzipError: the content is truncated, damaged, or longer than the limit.
        """
        while not self._decompressor.eof or self._begin_next():
            chunk = self._decompress(size)
            self._left -= len(chunk)
            if self._left < 0:
                raise GunzipError(f"It unpacks to more than the {self._limit} bytes that are allowed")
            if chunk:
                return chunk
        return b""

    def _decompress(self, size: int) -> bytes:
        compressed = b""
        if self._decompressor.needs_input:
            compressed = self._pending or self._source.read(COMPRESSED_CHUNK)
            self._pending = b""
            if not compressed:
                raise GunzipError("It is cut off: the compressed data end too early")
        try:
            return bytes(self._decompressor.decompress(compressed, size))
        except _IsalError as error:
            raise GunzipError("It is not compressed with gzip, or is damaged") from error

    def _begin_next(self) -> bool:
        """Begin the next gzip member, skipping zero padding; return False at the end.

        :raises GunzipError: other data follows.
        """
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest:
            chunk = self._source.read(COMPRESSED_CHUNK)
            if not chunk:
                return False
            rest = chunk.lstrip(b"\0")
        if not GZIP.startswith(rest[: len(GZIP)]):
            raise GunzipError("There is something behind the end of the compressed data")
        self._pending = rest
        self._decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return True


class Observed:
    """A source whose bytes are shown to somebody else as they are read, each of them once."""

    def __init__(self, source: Source, seen: Callable[[bytes], object]) -> None:
        self._source = source
        self._seen = seen

    def read(self, size: int, /) -> bytes:
        """Return some bytes; empty at the end."""
        chunk = self._source.read(size)
        self._seen(chunk)
        return chunk

    def read_rest(self) -> None:
        """Read what nobody wanted."""
        while self.read(CHUNK):
            pass


class _Begun:
    """A source of which some bytes were read already."""

    def __init__(self, begins: bytes, source: Source) -> None:
        self._begins = begins
        self._source = source

    def read(self, size: int, /) -> bytes:
        """Return some bytes; empty at the end."""
        begins, self._begins = self._begins[:size], self._begins[size:]
        return begins + self._source.read(size - len(begins)) if begins else self._source.read(size)


def gunzipped(source: Source, limit: int) -> Source:
    """Return the content of a file, decompressed if it has the gzip signature (RFC 1952).

    :param limit: largest decompressed size in bytes.
    """
    begins = source.read(len(GZIP))
    begun = _Begun(begins, source)
    return GunzipReader(begun, limit) if begins == GZIP else begun


class ReadAhead:
    """A source that is read a few chunks ahead in a thread, so that decompression runs beside writing."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chunks: queue.Queue[bytes | Exception] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def read(self, size: int) -> bytes:
        """Return the next chunk, at most 512 KiB whatever `size` is; empty at the end.

        :raises Exception: any that reading the source raised.
        """
        if self._ended:
            return b""
        chunk = self._chunks.get()
        if isinstance(chunk, Exception):
            self._ended = True
            raise chunk
        self._ended = not chunk
        return chunk

    def _work(self) -> None:
        going_on = True
        while going_on:
            item: bytes | Exception
            try:
                item = self._source.read(CHUNK)
            except Exception as error:
                item = error
            going_on = self._put(item) and isinstance(item, bytes) and bool(item)

    def _put(self, item: bytes | Exception) -> bool:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._chunks.put(item, timeout=PUT_TIMEOUT)
                return True
        return False

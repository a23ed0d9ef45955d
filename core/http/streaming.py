"""Streaming responses: a chunk is sent once the client has received the one before, until either side ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from jidoteki.core.http.connection import Connection
from jidoteki.hookspecs import StreamingResponse

#: Seconds in which the last chunk must be sent.
FAREWELL_TIMEOUT = 0.5


class Streams:
    """The open streams."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        self._none_left = asyncio.Event()
        #: Whether the service is stopping.
        self.ending = False

    @contextmanager
    def opened(self, sending: asyncio.Task[None]) -> Iterator[None]:
        """Register a stream in a `with` block.

        :param sending: its task, cancelled when the service stops.
        """
        self._open.add(sending)
        if self.ending:
            sending.cancel()
        try:
            yield
        finally:
            self._open.discard(sending)
            if not self._open:
                self._none_left.set()

    async def end(self) -> None:
        """End all streams, each with its farewell; new ones end at once."""
        self.ending = True
        if self._open:
            self._none_left.clear()
            for sending in self._open:
                sending.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), 2 * FAREWELL_TIMEOUT)


class Streamed(web.StreamResponse):
    """A streaming response.

    :param headers: those of every response.
    """

    def __init__(self, response: StreamingResponse, headers: Mapping[str, str]) -> None:
        # X-Accel-Buffering: proxies such as nginx then do not buffer the response.
        super().__init__(headers={**headers, "Content-Type": response.content_type, "X-Accel-Buffering": "no"})
        self._chunks: AsyncIterator[bytes] = response.chunks
        self._farewell = response.farewell
        #: Monitors the request while it is handled, and calls its argument when the request must end.
        self.watch: Callable[[Callable[[], None]], AbstractContextManager[None]] = lambda end: nullcontext()
        self.streams: Streams | None = None
        #: Called with the exception if the chunks raise one.
        self.failed: Callable[[Exception], None] = lambda error: None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the stream until it ends.

        :raises ConnectionError: the client has disconnected or stalled.
        """
        transport = request.transport
        try:
            with self.watch(transport.abort if transport else lambda: None):
                self.force_close()
                writer = await super().prepare(request)
                if writer is not None and request.method != "HEAD":
                    writer.send_headers()
                    await self._send(writer, transport)
                return writer
        finally:
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()

    async def _send(self, writer: AbstractStreamWriter, transport: asyncio.Transport | None) -> None:
        streams = self.streams or Streams()
        sending = asyncio.ensure_future(self._send_all(writer))
        if isinstance(transport, Connection):
            transport.on_gone = sending.cancel
        with streams.opened(sending):
            try:
                await asyncio.wait([sending])
            finally:
                if not sending.done():
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
            if not sending.cancelled():
                sending.result()
            elif streams.ending and transport is not None and not transport.is_closing():
                await self._send_farewell(writer, transport)
            else:
                raise ConnectionResetError("The client has gone")

    async def _send_all(self, writer: AbstractStreamWriter) -> None:
        try:
            async for chunk in self._chunks:
                if not isinstance(chunk, bytes | bytearray | memoryview):
                    raise TypeError(f"A stream yielded {type(chunk).__name__} in place of bytes")
                await writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            raise
        except Exception as error:
            self.failed(error)
            raise ConnectionResetError("The stream failed") from error

    async def _send_farewell(self, writer: AbstractStreamWriter, transport: asyncio.Transport) -> None:
        """Send the last chunk, and reset the connection if the client does not receive it in time."""
        try:
            async with asyncio.timeout(FAREWELL_TIMEOUT):
                await writer.write(self._farewell)
                await writer.drain()
                await self.write_eof()
        except TimeoutError as error:
            transport.abort()
            raise ConnectionResetError("The client takes nothing") from error

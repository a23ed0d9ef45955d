"""Answers that go on: a piece is sent once the client has taken the one before, until either side ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from jidoteki.core.http.connection import Connection
from jidoteki.hookspecs import StreamingResponse

#: Seconds for what is sent at last.
FAREWELL_TIMEOUT = 0.5


class Streams:
    """The streams that are open."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        self._none_left = asyncio.Event()
        #: Whether the service ends.
        self.ending = False

    @contextmanager
    def opened(self, sending: asyncio.Task[None]) -> Iterator[None]:
        """Know a stream while it is open.

        :param sending: what sends it, cancelled when the service ends.
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
        """End all of them, each with its farewell; those that come later end at once."""
        self.ending = True
        if self._open:
            self._none_left.clear()
            for sending in self._open:
                sending.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), 2 * FAREWELL_TIMEOUT)


class Streamed(web.StreamResponse):
    """An answer of which more comes again and again.

    :param headers: those of every answer.
    """

    def __init__(self, response: StreamingResponse, headers: Mapping[str, str]) -> None:
        # Proxies such as nginx pass it on as it comes then.
        super().__init__(headers={**headers, "Content-Type": response.content_type, "X-Accel-Buffering": "no"})
        self._chunks: AsyncIterator[bytes] = response.chunks
        self._farewell = response.farewell
        #: Watches the request while it is being answered, and calls what it is given when that must end.
        self.watch: Callable[[Callable[[], None]], AbstractContextManager[None]] = lambda end: nullcontext()
        self.streams: Streams | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it.

        :raises ConnectionError: the client has gone, or takes nothing.
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
                await self._say_farewell(writer)
            else:
                raise ConnectionResetError("The client has gone")

    async def _send_all(self, writer: AbstractStreamWriter) -> None:
        async for chunk in self._chunks:
            await writer.write(chunk)
            await writer.drain()

    async def _say_farewell(self, writer: AbstractStreamWriter) -> None:
        """Send what is sent at last, to a client that takes it."""
        try:
            async with asyncio.timeout(FAREWELL_TIMEOUT):
                await writer.write(self._farewell)
                await writer.drain()
                await self.write_eof()
        except TimeoutError as error:
            raise ConnectionResetError("The client takes nothing") from error

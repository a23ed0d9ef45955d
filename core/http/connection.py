"""The layer between a socket and the HTTP protocol, which limits the cost of an unauthenticated client.

It reads in small steps until the client is authenticated, buffers at most one small piece of output, and closes a
connection so that the last response arrives, but never later than the client's allowance permits.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Protocol

from jidoteki.core.addresses import network_of
from jidoteki.core.http.deadlines import Allowance, progress
from jidoteki.core.http.input_budget import InputBudget

STEP = 4 * 1024
BULK_STEP = 256 * 1024
BULK_UNSENT = 64 * 1024
LINGER_TIMEOUT = 2.0
#: Many clients read the response only after sending their whole body, however slowly.
MAX_LINGER_TIMEOUT = 10.0
MAX_DISCARDED = 8 * 1024 * 1024

STREAM_END_TIMEOUT = 0.5
#: As long as a service that ends waits for the first request of a new connection.
FIRST_REQUEST_TIMEOUT = 1.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with a timeout of 0: unsent data are discarded

#: The receive buffer of all connections: its content is copied or decrypted before the event loop continues.
_RECEIVED = memoryview(bytearray(BULK_STEP))
_STEP_RECEIVED = _RECEIVED[:STEP]


class Keeper(Protocol):
    """A registry of open connections."""

    def add(self, connection: Connection) -> None:
        """Register a new connection."""

    def remove(self, connection: Connection) -> None:
        """Remove a connection."""


class Connection(asyncio.Transport, asyncio.BufferedProtocol):
    """A connection without TLS: a protocol to the socket's transport, and a transport to the HTTP protocol.

    :param protocol: the HTTP protocol.
    :param budget: counts unauthenticated input.
    :param when_lost: called once when the connection is lost.
    """

    __slots__ = (
        "_allowance", "_budget", "_bulk", "_closing", "_discarded", "_file", "_first_until", "_keeper", "_last_moment",
        "_lingers_until", "_protocol", "_raw", "_reset", "_when_lost", "busy", "ended", "network", "on_gone",
    )  # fmt: skip

    _raw: asyncio.Transport
    _protocol: asyncio.Protocol | None

    def __init__(
        self, protocol: asyncio.Protocol, keeper: Keeper, budget: InputBudget, when_lost: Callable[[], None]
    ) -> None:
        super().__init__()
        self._protocol, self._keeper, self._budget, self._when_lost = protocol, keeper, budget, when_lost
        self._allowance = Allowance()
        self._bulk = self._closing = self._reset = self._file = False
        self._lingers_until = self._last_moment = 0.0
        self._first_until = asyncio.get_running_loop().time() + FIRST_REQUEST_TIMEOUT
        self._discarded = 0
        #: Whether a request is being handled.
        self.busy = False
        #: Whether the client has closed its side and waits for the response to a complete request.
        self.ended = False
        #: The client's.
        self.network = "-"
        #: Called when the client disconnects, during a response without an end; no minimum rate applies to those.
        self.on_gone: Callable[[], object] | None = None

    # Called by the socket's transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport
        transport.set_write_buffer_limits(high=0)
        self.network = network_of(str((transport.get_extra_info("peername") or "-")[0]))
        self._keeper.add(self)
        self._begin()

    def _begin(self) -> None:
        """Connect the HTTP protocol."""
        assert self._protocol
        self._protocol.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next bytes."""
        return _RECEIVED if self._bulk or self._closing else _STEP_RECEIVED

    def buffer_updated(self, nbytes: int) -> None:
        """Process received bytes; those after the last response are discarded, up to a limit."""
        if not self._closing:
            self._received(_RECEIVED[:nbytes])
            return
        self._discarded += nbytes
        if self._discarded > MAX_DISCARDED:
            self._raw.pause_reading()
        else:
            self._linger(asyncio.get_running_loop().time())

    def _linger(self, now: float) -> None:
        self._lingers_until = min(now + LINGER_TIMEOUT, self._last_moment)

    def _received(self, content: memoryview) -> None:
        assert self._protocol
        self._protocol.data_received(bytes(content))

    def eof_received(self) -> bool:
        """Return whether to keep the connection open for the response to a complete request."""
        if self._is_owed_an_answer():
            return True
        self._closing = True
        return False

    def _is_owed_an_answer(self) -> bool:
        """Return whether a client that has closed its side has sent a complete request (RFC 9112, section 9.6)."""
        owed = not self._closing and self.on_gone is None
        owed = owed and self._protocol is not None and bool(self._protocol.eof_received())
        self.ended = self.ended or owed
        return owed

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._keeper.remove(self)
        self._budget.hold(self, 0)
        self._disconnect(exc)
        self._when_lost()

    def _disconnect(self, exc: Exception | None) -> None:
        """Disconnect the HTTP protocol and release its memory."""
        if self.on_gone is not None:
            self.on_gone()
        if self._protocol is not None:
            protocol, self._protocol = self._protocol, None
            protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    # Called by the HTTP protocol.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._closing

    @property
    def is_outdated(self) -> bool:
        """Whether a new connection would be another one, so that this one should end with its next response."""
        return False

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        if not self.ended:
            self._raw.resume_reading()

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        # asyncio logs each write to a connection that the client has reset already.
        if not self._closing and not self._raw.is_closing():
            self._raw.write(data)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def set_bulk(self, bulk: bool) -> None:
        """Enable or disable large steps, which are for authenticated clients only."""
        if bulk is not self._bulk and not self.is_closing():
            self._bulk = bulk
            self._raw.set_write_buffer_limits(high=BULK_UNSENT if bulk else 0)

    async def send_file(self, file: IO[Any], offset: int, count: int) -> int:
        """Send a part of a file with sendfile(2).

        :return: the number of bytes sent; less than `count` if the file is shorter.
        :raises ConnectionError: the client has disconnected or stalled.
        """
        if self.is_closing():
            raise ConnectionResetError("The connection is closed")
        self._file = True
        try:
            return await asyncio.get_running_loop().sendfile(self._raw, file, offset, count)
        finally:
            self._file = False
            if self._reset:
                self._raw.abort()

    def close(self) -> None:
        """Send the buffered data, shut down the sending side, and wait for the client to close.

        An immediate close would reset the connection of a client that is still sending before it reads the response.
        That of a stream sends nothing, and may sleep: it is not waited for.
        """
        if self.is_closing():
            return
        if self.on_gone is not None:
            self._close_now()  # once what is buffered was taken, for which a moment is enough
            asyncio.get_running_loop().call_later(STREAM_END_TIMEOUT, self._raw.abort)
            return
        self._send_close()
        self._closing = True
        now = asyncio.get_running_loop().time()
        self._last_moment = now + MAX_LINGER_TIMEOUT
        self._linger(now)
        with suppress(OSError):  # the client may have reset the connection already
            self._raw.write_eof()
        self._raw.resume_reading()
        asyncio.get_running_loop().call_soon(self._disconnect, None)

    def _send_close(self) -> None:
        """Send the last bytes of the protocol below HTTP."""

    def abort(self) -> None:
        self.reset()

    # Called by the reaper of all connections.

    def note_request(self) -> None:
        """Note that a request has come: the connection is no new one any more."""
        self._first_until = 0.0

    def close_if_idle(self) -> None:
        """Close immediately, unless a request is being handled or the last response is still being sent.

        The first request of a new connection may be on its way: that is waited for.
        """
        is_new = asyncio.get_running_loop().time() < self._first_until
        if not self.busy and not self._closing and not is_new:
            self._close_now()

    def _close_now(self) -> None:
        self._send_close()
        self._closing = True
        self._raw.close()

    def reset(self) -> None:
        """Reset the connection; unsent data are discarded, in the kernel too."""
        self._reset = self._closing = True
        connected = self._raw.get_extra_info("socket")
        with suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if not self._file:
            self._raw.abort()
            return
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)  # ends sendfile, which would hang after an abort

    def check(self, now: float, stall: float, rate: int) -> None:
        """Reset the connection if its client stalls for too long; called about once a second.

        :param now: the time of the event loop's clock.
        :param stall: seconds for which a client may receive nothing.
        :param rate: bytes per second that it must receive on average.
        """
        if not self.busy and not self._closing:
            return  # the protocol enforces the timeout of requests
        taken = progress(self._raw.get_extra_info("socket"))
        if taken.outstanding or self.get_write_buffer_size():
            self._lingers_until = now + LINGER_TIMEOUT
            if not self._allowance.lasts(now, taken.acknowledged, stall, rate if self.on_gone is None else 0):
                self.reset()
        else:
            self._allowance.renew()
            if self._closing and now >= self._lingers_until:
                self._raw.abort()

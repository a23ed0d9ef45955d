"""The layer between a socket and the HTTP protocol, which bounds what a client costs before it is authenticated.

It receives in small steps until a client is authenticated, keeps at most one small piece that the client does not take,
and ends a connection so that the last answer arrives, though never later than the client's allowance lasts.
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
#: Many clients look for the answer only once they have sent all of their body, however slowly that goes.
MAX_LINGER_TIMEOUT = 10.0
MAX_DISCARDED = 8 * 1024 * 1024

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what is not sent is thrown away

#: Every connection receives into this: what has come is copied or decrypted before the event loop goes on.
_RECEIVED = memoryview(bytearray(BULK_STEP))
_STEP_RECEIVED = _RECEIVED[:STEP]


class Keeper(Protocol):
    """Knows the connections that are there."""

    def add(self, connection: Connection) -> None:
        """Look after a new one."""

    def remove(self, connection: Connection) -> None:
        """Look after it no more."""


class Connection(asyncio.Transport, asyncio.BufferedProtocol):
    """A connection without TLS: a protocol to the socket's transport, and a transport to the HTTP protocol.

    :param protocol: what speaks HTTP.
    :param budget: where input is counted that nobody is authenticated for.
    :param when_lost: called once, when the connection is no more.
    """

    __slots__ = (
        "_allowance", "_budget", "_bulk", "_closing", "_discarded", "_file", "_keeper", "_last_moment",
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
        self._discarded = 0
        #: Whether a request is being answered.
        self.busy = False
        #: Whether the client sends no more, and waits for what it has asked for.
        self.ended = False
        #: Of the client.
        self.network = "-"
        #: Called when the client goes, while it is sent what has no end: then it owes only to take something at times.
        self.on_gone: Callable[[], object] | None = None

    # What the socket's transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport
        transport.set_write_buffer_limits(high=0)
        self.network = network_of(str((transport.get_extra_info("peername") or "-")[0]))
        self._keeper.add(self)
        self._begin()

    def _begin(self) -> None:
        """Let the HTTP protocol begin."""
        assert self._protocol
        self._protocol.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """What the next bytes are to be received into."""
        return _RECEIVED if self._bulk or self._closing else _STEP_RECEIVED

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have been received; those that come after the last answer are thrown away, though not for ever."""
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
        """The client sends no more: that ends the connection, unless an answer to a whole request is due first."""
        if self._is_owed_an_answer():
            return True
        self._closing = True
        return False

    def _is_owed_an_answer(self) -> bool:
        """Whether a client that sends no more has sent a whole request (RFC 9112, 9.6)."""
        owed = not self._closing and self.on_gone is None
        owed = owed and self._protocol is not None and bool(self._protocol.eof_received())
        self.ended = self.ended or owed
        return owed

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._keeper.remove(self)
        self._budget.hold(self, 0)
        self._leave(exc)
        self._when_lost()

    def _leave(self, exc: Exception | None) -> None:
        """Let the HTTP protocol go, with all that it keeps: it has nothing more to say."""
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

    # What the HTTP protocol calls.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        if not self.ended:
            self._raw.resume_reading()

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._raw.write(data)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def set_bulk(self, bulk: bool) -> None:
        """Move data in large steps, for authenticated clients only, or in small ones again."""
        if bulk is not self._bulk and not self.is_closing():
            self._bulk = bulk
            self._raw.set_write_buffer_limits(high=BULK_UNSENT if bulk else 0)

    async def send_file(self, file: IO[Any], offset: int, count: int) -> int:
        """Send a part of a file, copied by the kernel.

        :return: how many bytes there were to send.
        :raises ConnectionError: the client has gone, or did not take it.
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
        """Send what is written and then no more, and wait for the client to close, for longer while it still sends.

        Closing at once would reset the connection of such a client before it has read the answer.
        """
        if self.is_closing():
            return
        self._say_goodbye()
        self._closing = True
        now = asyncio.get_running_loop().time()
        self._last_moment = now + MAX_LINGER_TIMEOUT
        self._linger(now)
        with suppress(OSError):  # the client may have reset the connection already
            self._raw.write_eof()
        self._raw.resume_reading()
        asyncio.get_running_loop().call_soon(self._leave, None)

    def _say_goodbye(self) -> None:
        """Write the last bytes."""

    def abort(self) -> None:
        self.reset()

    # What looks after all connections calls.

    def close_if_idle(self) -> None:
        """Close at once, unless a request is being answered or the last answer is still on its way."""
        if not self.busy and not self._closing:
            self._say_goodbye()
            self._closing = True
            self._raw.close()

    def reset(self) -> None:
        """End the connection now; what is not sent is thrown away, in the kernel too."""
        self._reset = self._closing = True
        connected = self._raw.get_extra_info("socket")
        with suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if not self._file:
            self._raw.abort()
            return
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)  # ends the sending of a file, which an abort would leave waiting

    def check(self, now: float, stall: float, rate: int) -> None:
        """Reset the connection if its client keeps it waiting for too long; called about once a second.

        :param now: by the event loop's clock.
        :param stall: seconds that a client may take nothing.
        :param rate: bytes a second that it must take on average.
        """
        if not self.busy and not self._closing:
            return  # the protocol closes those that keep it waiting for a request
        taken = progress(self._raw.get_extra_info("socket"))
        if taken.outstanding or self.get_write_buffer_size():
            self._lingers_until = now + LINGER_TIMEOUT
            if not self._allowance.lasts(now, taken.acknowledged, stall, rate if self.on_gone is None else 0):
                self.reset()
        else:
            self._allowance.renew()
            if self._closing and now >= self._lingers_until:
                self._raw.abort()

"""TLS between a socket and the HTTP protocol, at little cost until a client has proved that it speaks TLS.

asyncio's own would take 60 KiB for each silent client, and 150 KiB for one that announces a long ClientHello, because
OpenSSL allocates its buffers with the first read. Here OpenSSL receives complete records only, and the number of
concurrent handshakes is limited.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from jidoteki.core.http.connection import BULK_STEP, Connection, Keeper
from jidoteki.core.http.handshakes import Handshakes
from jidoteki.core.http.input_budget import InputBudget
from jidoteki.core.http.responses import text_error_bytes
from jidoteki.core.http.tls_records import HelloRefusedError, check_second_hello, has_hello, whole_records

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 10.0
MAX_HELD = 20 * 1024
MAX_UNREAD = 16 * 1024
#: The beginnings of HTTP requests; no TLS record begins with a letter.
METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"CONNECT ", b"TRACE ", b"PRI ")
NOT_HTTP = "This port speaks HTTPS: write https:// in place of http://"

#: The buffer for decrypted data, which all connections share.
_DECRYPTED = memoryview(bytearray(BULK_STEP))


class Stage(enum.Enum):
    """The state of a connection."""

    HELLO = enum.auto()
    QUEUED = enum.auto()
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()


class TlsConnection(Connection):
    """A connection with TLS.

    :param context: returns the current TLS context.
    :param handshakes: those in progress.
    """

    __slots__ = (
        "_context", "_due", "_eof", "_framed", "_handshakes", "_held", "_incoming", "_outgoing", "_stage", "_tls",
    )  # fmt: skip

    _tls: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO

    def __init__(
        self,
        protocol: asyncio.Protocol,
        keeper: Keeper,
        budget: InputBudget,
        when_lost: Callable[[], None],
        context: Callable[[], ssl.SSLContext],
        handshakes: Handshakes,
    ) -> None:
        super().__init__(protocol, keeper, budget, when_lost)
        self._context, self._handshakes = context, handshakes
        self._due = asyncio.get_running_loop().time() + HANDSHAKE_TIMEOUT
        self._held = bytearray()
        self._framed = True
        self._eof = False
        self._stage = Stage.HELLO

    def _begin(self) -> None:
        """Do nothing: the HTTP protocol is connected after the handshake."""

    def _disconnect(self, exc: Exception | None) -> None:
        self._handshakes.end(self)
        if self._stage is not Stage.OPEN:
            self._protocol = None  # it was never connected
        super()._disconnect(exc)
        with suppress(AttributeError):
            del self._tls, self._incoming, self._outgoing

    # Receiving.

    def _received(self, content: memoryview) -> None:
        if not self._framed:
            self._incoming.write(content)
            self._read()
            return
        self._held += content
        try:
            _STEPS[self._stage](self)
        except HelloRefusedError as error:
            logger.debug("A handshake with %s is refused: %s", self.get_extra_info("peername"), error)
            self.reset()
        self._count()

    def _count(self) -> None:
        self._budget.hold(self, 0 if self.is_closing() else len(self._held))

    def _await_hello(self) -> None:
        if self._held.startswith(METHODS):
            self._raw.write(text_error_bytes(400, NOT_HTTP))
            self._held = bytearray()
            self.close()
        elif any(each.startswith(self._held[: len(each)]) for each in METHODS):
            return  # the first bytes of a method
        elif has_hello(self._held):
            self._stage = Stage.QUEUED
            self.pause_reading()  # while it is queued, only the ClientHello is buffered
            self._handshakes.begin(self)
        else:
            self._await_turn()

    def _await_turn(self) -> None:
        if len(self._held) > MAX_HELD:
            raise HelloRefusedError("it sends more than a ClientHello")

    def shake_hands(self) -> None:
        """Start the handshake: the ClientHello is complete."""
        self._stage = Stage.HANDSHAKE
        self.resume_reading()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self._context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._go_on_shaking_hands()
        self._count()

    def _answer_in_handshake(self) -> None:
        if self._tls.version() == "TLSv1.3":
            check_second_hello(self._held)
        self._go_on_shaking_hands()

    def _go_on_shaking_hands(self) -> None:
        self._take_records()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, OSError) as error:
            self._give_up(error)
            return
        self._stage = Stage.OPEN
        self._handshakes.end(self)
        self._flush()
        super()._begin()
        if self.get_write_buffer_size():
            self.pause_writing()
        self._read()

    def _give_up(self, error: Exception) -> None:
        """Close, with the alert that OpenSSL may have written."""
        logger.debug("TLS with %s has failed: %s", self.get_extra_info("peername"), error)
        self._flush()
        self._closing = True
        self._raw.close()

    def _take_records(self) -> None:
        if self._framed and self._held:
            size = whole_records(self._held)
            if size:
                self._incoming.write(memoryview(self._held)[:size].tobytes())
                del self._held[:size]

    def _read(self) -> None:
        """Hand on decrypted data while the HTTP protocol reads."""
        self._take_records()
        try:
            while self.is_reading() and not self._closing:
                size = self._decrypt()
                if size:
                    super()._received(_DECRYPTED[:size])
                if not self._incoming.pending and not self._tls.pending() and not self._eof:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            if self._is_owed_an_answer():
                self.pause_reading()  # nothing more is decrypted, so nothing more may be received
            else:
                self.close()
            return
        except (ssl.SSLError, OSError) as error:
            self._give_up(error)
            return
        self._flush()  # a message of TLS itself, such as KeyUpdate
        if self._framed and not self.busy and self.get_write_buffer_size() > MAX_UNREAD:
            self.reset()

    def _decrypt(self) -> int:
        """Decrypt as much as is available and fits.

        :raises ssl.SSLWantReadError: there is nothing.
        :raises ssl.SSLZeroReturnError: the client has sent close_notify.
        """
        size = 0
        while size < BULK_STEP and (not size or self._incoming.pending or self._tls.pending()):
            try:
                count: Any = self._tls.read(BULK_STEP - size, _DECRYPTED[size:])
            except ssl.SSLWantReadError:
                if size:
                    break
                raise
            except ssl.SSLZeroReturnError:
                count = 0
            if not count:
                self._eof = True
                if size:
                    break
                raise ssl.SSLZeroReturnError
            size += count
        return size

    def resume_reading(self) -> None:
        if not self._raw.is_reading():
            super().resume_reading()
            if self._stage is Stage.OPEN and not self._closing:
                asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self.is_reading() and not self._closing:
            self._read()

    # Sending.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_closing():
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except (ssl.SSLError, OSError) as error:
            self._give_up(error)
            return
        self._flush()

    def _flush(self) -> None:
        # asyncio logs each write to a connection that the client has reset already.
        if self._outgoing.pending and not self.is_closing() and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    def _send_close(self) -> None:
        if self._stage is Stage.OPEN:
            with suppress(ssl.SSLError, OSError):  # it would like to read the client's close_notify
                self._tls.unwrap()
            self._flush()

    def pause_writing(self) -> None:
        if self._stage is Stage.OPEN:
            super().pause_writing()

    def resume_writing(self) -> None:
        if self._stage is Stage.OPEN:
            super().resume_writing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._tls.context
        return self._tls if name == "ssl_object" else super().get_extra_info(name, default)

    @property
    def is_outdated(self) -> bool:
        """Whether the certificate has changed, which browsers would not notice as long as they keep the connection."""
        return self._tls.context is not self._context()

    def set_bulk(self, bulk: bool) -> None:
        if bulk and self._framed:
            self._framed = False
            self._incoming.write(bytes(self._held))
            self._held = bytearray()
            self._budget.hold(self, 0)
        super().set_bulk(bulk)

    def check(self, now: float, stall: float, rate: int) -> None:
        if self._stage is Stage.OPEN or self._closing:
            super().check(now, stall, rate)
        elif now >= self._due:
            logger.debug("A handshake with %s takes too long", self.get_extra_info("peername"))
            self.reset()


_STEPS = {
    Stage.HELLO: TlsConnection._await_hello,
    Stage.QUEUED: TlsConnection._await_turn,
    Stage.HANDSHAKE: TlsConnection._answer_in_handshake,
    Stage.OPEN: TlsConnection._read,
}

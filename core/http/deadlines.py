"""How long a client may take for an answer, measured by what it has acknowledged and not by what was written.

Buffers of the kernel and of TLS lie between the two, and hold megabytes.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

# `struct tcp_info` of <linux/tcp.h>: the kernel only ever appends to it.
_UNACKNOWLEDGED = struct.Struct("=24xI")
_ACKNOWLEDGED = struct.Struct("=120xQ")
_NOT_SENT = struct.Struct("=144xI")
_SIZE = 148

START = 1 / 3  # of the longest stall: what a client has before it has taken anything


@dataclass(frozen=True, slots=True)
class Progress:
    """What the kernel knows of a connection.

    :param acknowledged: bytes that the client has received, ever.
    :param outstanding: whether there are bytes that it has not.
    """

    acknowledged: int
    outstanding: bool


def progress(connected: Any) -> Progress:
    """Ask the kernel about a TCP socket."""
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:  # the socket is closed
        return Progress(0, False)
    (unacknowledged,) = _UNACKNOWLEDGED.unpack_from(info)
    (acknowledged,) = _ACKNOWLEDGED.unpack_from(info)
    (not_sent,) = _NOT_SENT.unpack_from(info)
    return Progress(acknowledged, bool(unacknowledged or not_sent))


class Allowance:
    """The seconds for which a client may still take nothing: it earns one with each `rate` bytes it takes.

    Both a stall and a crawl end it, and a slow line does not, whose buffers take an answer in large steps.
    """

    __slots__ = ("_acknowledged", "_checked", "_seconds")

    def __init__(self) -> None:
        self._checked: float | None = None
        self._seconds = 0.0
        self._acknowledged = 0

    def renew(self) -> None:
        """Begin anew: the client has taken everything."""
        self._checked = None

    def lasts(self, now: float, acknowledged: int, stall: float, rate: int) -> bool:
        """Whether the client may go on.

        :param acknowledged: bytes that it has taken, ever.
        :param stall: seconds that it may take nothing.
        :param rate: bytes a second that it must take on average; 0 for any.
        """
        if self._checked is None:
            self._checked, self._seconds = now, stall * START
        else:
            taken = acknowledged - self._acknowledged
            earned = taken / rate if rate else stall * (taken > 0)
            self._seconds = min(stall, self._seconds + earned) - (now - self._checked)
            self._checked = now
        self._acknowledged = acknowledged
        return self._seconds > 0

"""The deadline of a response, measured by the bytes that the client has acknowledged and not by those written.

The buffers of the kernel and of TLS, which hold megabytes, lie between the two.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

# `struct tcp_info` of <linux/tcp.h>, to which the kernel only ever appends fields.
_UNACKNOWLEDGED = struct.Struct("=24xI")
_ACKNOWLEDGED = struct.Struct("=120xQ")
_NOT_SENT = struct.Struct("=144xI")
_SIZE = 148

START = 1 / 3  # the initial allowance, as a fraction of the longest stall


@dataclass(frozen=True, slots=True)
class Progress:
    """The kernel's state of a connection.

    :param acknowledged: total number of bytes that the client has acknowledged.
    :param outstanding: whether there are unsent or unacknowledged bytes.
    """

    acknowledged: int
    outstanding: bool


def progress(connected: Any) -> Progress:
    """Return the progress of a TCP socket."""
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:  # the socket is closed
        return Progress(0, False)
    (unacknowledged,) = _UNACKNOWLEDGED.unpack_from(info)
    (acknowledged,) = _ACKNOWLEDGED.unpack_from(info)
    (not_sent,) = _NOT_SENT.unpack_from(info)
    return Progress(acknowledged, bool(unacknowledged or not_sent))


class Allowance:
    """The seconds for which a client may still receive nothing; it earns one with each `rate` bytes.

    Both a stall and a crawl use it up; a slow line does not, whose buffers drain in large steps.
    """

    __slots__ = ("_acknowledged", "_checked", "_seconds")

    def __init__(self) -> None:
        self._checked: float | None = None
        self._seconds = 0.0
        self._acknowledged = 0

    def renew(self) -> None:
        """Start again: the client has received everything."""
        self._checked = None

    def lasts(self, now: float, acknowledged: int, stall: float, rate: int) -> bool:
        """Return whether the client still has an allowance.

        :param acknowledged: total number of bytes that it has acknowledged.
        :param stall: seconds for which it may receive nothing.
        :param rate: bytes per second that it must receive on average; 0 for no minimum.
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

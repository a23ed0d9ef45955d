"""What the service tells the service manager that started it: sd_notify(3), datagrams to `$NOTIFY_SOCKET`.

Nothing is sent where the variable is not set. The manager hears of the start only while the event loop turns, so that a
service that hangs is restarted, then as later.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

logger = logging.getLogger(__name__)

#: How much longer a start may take, said again and again while the event loop turns.
EXTENSION = 30.0
EXTEND_EACH = 5.0
MICROSECONDS = 1_000_000


class ServiceManager:
    """The service manager, if there is one.

    :param environ: what it sets; taken away, because programs that the service starts must not speak in its name.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        self._interval = _watchdog_interval(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        self._socket: socket.socket | None = None
        self._starting = True
        self._next = 0.0

    def ready(self) -> None:
        """Say that requests are answered, for the first time or after a reload."""
        self._starting, self._next = False, 0.0
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins, which `ready` ends."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def asked_to_end(self) -> None:
        """Ask for no more time to start: the manager kills what then does not end in its own."""
        if self._starting:
            self._interval, self._starting = None, False

    def stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def turned(self) -> None:
        """Say, not too often, that the event loop turns; call it from there, several times a second."""
        now = time.monotonic()
        interval = EXTEND_EACH if self._starting else self._interval
        if self._address is None or interval is None or now < self._next:
            return
        self._next = now + interval
        self._send(f"EXTEND_TIMEOUT_USEC={EXTENSION * MICROSECONDS:.0f}" if self._starting else "WATCHDOG=1")

    def _send(self, message: str) -> None:
        """Send a message; what cannot be sent is logged, because the service is there for others."""
        if self._address is None:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            logger.error("The service manager cannot be told %s: %s", message.partition("=")[0], error)


def _address(value: str) -> str | None:
    """Return the address of a socket: a path, or with an `@` a name in the abstract namespace."""
    if value.startswith("@"):
        return f"\0{value[1:]}"
    return value if value.startswith("/") else None


def _watchdog_interval(microseconds: str, process: str) -> float | None:
    """Return how often the watchdog wants to hear of this process, a third of its time-out, or None."""
    if not microseconds.isdecimal() or (process and process != str(os.getpid())):
        return None
    return int(microseconds) / MICROSECONDS / 3 or None

"""How the service hands a job over to the process that systemd started for it: its order and three descriptors.

The service listens on a socket in the directory of the run. The process connects, receives, and answers that it begins,
with its number, or why it does not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from jidoteki.core.jobs.order import MAX_SIZE

NAME: Final = "start.socket"
#: Seconds for either side. On a slow machine that just boots, the process needs half a minute before it begins.
TIMEOUT: Final = 90.0
#: Seconds between two looks whether the process lives that is to come.
LOOK_EACH: Final = 1.0
DESCRIPTORS: Final = 3
_MAX_ANSWER: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
_BEGINS: Final = "begins "


class RefusedError(OSError):
    """A job that the other side does not begin; the message is the reason."""


class Listener:
    """The side of the service.

    :param directory: of the run.
    :raises OSError: there can be no socket.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self._path))
        self._socket.listen(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def hand_over(self, order: bytes, descriptors: Sequence[int], lives: Callable[[], bool] = lambda: True) -> int:
        """Hand a job over, and return the number of the process that runs it.

        :param lives: returns whether the process that is to come lives.
        :raises RefusedError: it is refused.
        :raises OSError: nobody takes it.
        """
        with self._accepted(lives) as connection:
            connection.settimeout(TIMEOUT)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it says why
                socket.send_fds(connection, [b"\n"], descriptors)
                connection.sendall(order)
                connection.shutdown(socket.SHUT_WR)
            said = b""
            with contextlib.suppress(ConnectionResetError):  # it ended before it had read all
                said = _read(connection, _MAX_ANSWER)
            answer = said.decode("utf-8", "replace").strip()
        number = answer.removeprefix(_BEGINS)
        if number != answer and number.isascii() and number.isdecimal():
            return int(number)
        raise RefusedError(answer or "its process ended at once")

    def _accepted(self, lives: Callable[[], bool]) -> socket.socket:
        self._socket.settimeout(LOOK_EACH)
        deadline, may_come = time.monotonic() + TIMEOUT, True
        while may_come and time.monotonic() < deadline:
            may_come = lives()  # before the wait: one that came and went has still come
            with contextlib.suppress(TimeoutError):
                return self._socket.accept()[0]
        raise RefusedError("no process came for it")


@dataclass(slots=True)
class Received:
    """The side of the process, which has received an order."""

    order: bytes
    descriptors: list[int]
    connection: socket.socket

    def begin(self) -> None:
        """Answer that the job begins."""
        self._answer(f"{_BEGINS}{os.getpid()}")

    def refuse(self, reason: str) -> None:
        """Answer that it does not."""
        self._answer(reason[: _MAX_ANSWER // 4])

    def _answer(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(text.encode("utf-8", "backslashreplace"))
        self.connection.close()


def receive(directory: Path) -> Received:
    """Receive an order.

    :param directory: of the run.
    :raises OSError: nobody gives one, or one that is too long.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    connection.connect(str(directory / NAME))
    first, descriptors, _, _ = socket.recv_fds(connection, 1, DESCRIPTORS)
    received = Received(b"", descriptors, connection)
    if first != b"\n" or len(descriptors) != DESCRIPTORS:
        received.refuse("It came without its descriptors")
        raise RefusedError("no descriptors came")
    received.order = _read(connection, MAX_SIZE)
    return received


def _read(connection: socket.socket, limit: int) -> bytes:
    read = bytearray()
    while chunk := connection.recv(_CHUNK):
        read += chunk
        if len(read) > limit:
            raise RefusedError("it is too long")
    return bytes(read)

"""Listening sockets that the service manager opened, which it keeps over restarts: sd_listen_fds(3).

Clients that connect while the service restarts wait in the socket's queue, and are not refused.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, MutableMapping
from typing import NamedTuple

logger = logging.getLogger(__name__)

#: The number of the first descriptor that is handed on.
FIRST = 3
MAX_SOCKETS = 64
#: The name, `FileDescriptorName=` of a socket unit, of sockets for plain HTTP; all others are for HTTPS.
PLAIN = "http"


class HandedSockets(NamedTuple):
    """Sockets that listen already."""

    https: tuple[socket.socket, ...] = ()
    http: tuple[socket.socket, ...] = ()


def take(environ: MutableMapping[str, str] | None = None) -> HandedSockets:
    """Return the sockets that were handed to this process; call it once.

    What cannot be listened on is logged and closed.

    :param environ: what names them; taken away, because they are not for programs that the service starts.
    """
    environ = os.environ if environ is None else environ
    count, process = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if process != str(os.getpid()) or not count.isdecimal():
        return HandedSockets()
    found = list(_listening(min(int(count), MAX_SOCKETS), names))
    return HandedSockets(
        tuple(each for each, name in found if name != PLAIN), tuple(each for each, name in found if name == PLAIN)
    )


def _listening(count: int, names: list[str]) -> Iterator[tuple[socket.socket, str]]:
    for index in range(count):
        name = names[index] if index < len(names) else ""
        try:
            handed = socket.socket(fileno=FIRST + index)
        except OSError as error:
            logger.error("The descriptor %s of the service manager is no socket: %s", name or index, error.strerror)
            continue
        handed.set_inheritable(False)
        handed.setblocking(False)
        if problem := _problem(handed):
            logger.error("The socket %s of the service manager is not used: %s", name or index, problem)
            handed.close()
            continue
        yield handed, name


def _problem(handed: socket.socket) -> str | None:
    if handed.family not in (socket.AF_INET, socket.AF_INET6) or handed.type != socket.SOCK_STREAM:
        return "it is not for TCP"
    if not handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "it does not listen, Accept=yes of its unit perhaps"
    return None

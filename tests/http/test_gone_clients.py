"""Clients that reset their connection while they are answered."""

from __future__ import annotations

import socket
import ssl
import struct
from urllib.parse import urlsplit

from jidoteki.testing import Host

REQUESTS = b"GET /docs/openapi.json HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 20
RESET = struct.pack("ii", 1, 0)


def test_answers_that_nobody_takes_leave_no_lines_in_the_log(jidoteki_module_host: Host) -> None:
    host = jidoteki_module_host
    context = ssl._create_unverified_context()
    where = urlsplit(host.url)
    for _ in range(30):
        connection = socket.create_connection((where.hostname, where.port), timeout=20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        secured = context.wrap_socket(connection)
        secured.sendall(REQUESTS)
        secured.close()

    assert host.get("/version").status == 200
    assert "socket.send() raised" not in (host.appliance.log / "jidoteki-admin-api.log").read_text() + host.errors()

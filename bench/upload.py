"""`POST /update` of a large package over TLS, beside a raw body to a bare handler that writes to the same disk."""

from __future__ import annotations

import os
import socket
import ssl
import time

from bench import servers
from bench.processes import begin_peak, peak, pid_of, settle
from bench.rows import Row, interleaved
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host

MIB = 1024 * 1024
PIECE = os.urandom(MIB)  # as a package is: what its bytes are decides how fast the boundary is looked for
BOUNDARY = "------------------------d74496d66958873eQxRb7Z"  # as long as that of curl
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="update"; filename="package.enc"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


def rows(quick: bool) -> list[Row]:
    """MB/s to the answer, and by how much the service's memory grows meanwhile."""
    size, runs = (64 * MIB, 3) if quick else (1024 * MIB, 5)
    grown: list[float] = []
    with servers.directory() as below:
        on = servers.appliance(below)
        with servers.service(on) as host, servers.bare(on, below) as bare:

            def ours() -> dict[str, float]:
                settle()
                pid = pid_of(host)
                before = begin_peak(pid)
                taken = post_package(host, size)
                grown.append((peak(pid) - before) / MIB)
                servers.wait_for_job(host, "update", 60)  # which refuses what is no package, and removes it
                return {"rate": size / taken / 1e6}

            def reference() -> dict[str, float]:
                settle()
                return {"rate": size / _post(bare.place.tls_port, "/raw", "text/plain", [], size, b"200") / 1e6}

            mine, its = interleaved(ours, reference, runs)
    name = f"POST /update, {size // MIB} MiB, TLS"
    return [
        Row(name, "MB/s", mine["rate"], its["rate"], "bare aiohttp, raw", 0.7, at_least=True),
        Row(f"{name}, memory grows", "MiB", grown, [], "", 16),
    ]


def post_package(host: Host, size: int) -> float:
    """Post a file of `size` bytes as a package and return the seconds to the answer, which must be 202."""
    target = f"{PREFIX}/update{host.query('POST', '/update')}"
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return _post(servers.place(host).tls_port, target, kind, [HEAD, TAIL], size, b"202")


def _post(port: int, target: str, kind: str, around: list[bytes], size: int, status: bytes) -> float:
    before, after = around or (b"", b"")
    taken, answer = send("POST", port, target, f"Content-Type: {kind}\r\n", before, size, after)
    if answer[9:12] != status:
        raise AssertionError(answer)
    return taken


def send(
    method: str, port: int, target: str, headers: str, before: bytes, size: int, after: bytes
) -> tuple[float, bytes]:
    """Make a request whose body is `size` bytes between others, and return the seconds to the answer, and the answer.

    :param headers: lines, each with its end.
    """
    length = len(before) + size + len(after)
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 60)) as connection:
        began = time.perf_counter()
        connection.sendall(head.encode() + before)
        for _ in range(size // MIB):
            connection.sendall(PIECE)
        connection.sendall(after)
        answer = connection.recv(65536)
        taken = time.perf_counter() - began
    return taken, answer

"""Well-behaved clients while 1,000 connections do nothing and 100 uploads trickle in."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator

from bench import load, servers
from bench.rows import Row
from bench.upload import BOUNDARY, HEAD, MIB
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host

TRICKLE = 2048
INTERVAL = 1.0
CONNECTIONS = 8


def rows(quick: bool) -> list[Row]:
    """Failed requests, and requests a second beside those of the same service left alone."""
    idle, slow, seconds, runs = (200, 20, 2.0, 2) if quick else (1000, 100, 6.0, 3)
    failed, crowded, alone = [], [], []
    with servers.directory() as below:
        on = servers.appliance(below)
        with servers.service(on) as host:
            for _ in range(runs):
                alone.append(_load(host, seconds).rate)
                with _idle(host, idle), _uploading(host, slow):
                    measured = _load(host, seconds)
                failed.append(float(measured.failed))
                crowded.append(measured.rate)
    name = f"{idle:,} idle connections, {slow} slow uploads"
    return [
        Row(f"{name}: failed requests", "requests", failed, [], "", 0),
        Row(f"{name}: GET /version", "requests/s", crowded, alone, "left alone", 0.5, at_least=True),
    ]


def _load(host: Host, seconds: float) -> load.Load:
    where = servers.place(host).address(True)
    return load.measure(where, servers.request(host), tls=True, seconds=seconds, connections=CONNECTIONS)


def _connect(host: Host) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", servers.place(host).tls_port), 10))


@contextlib.contextmanager
def _idle(host: Host, number: int) -> Iterator[None]:
    """Connections that end their handshake and say nothing; those that the service closes for that come again."""
    ended = threading.Event()
    opened = [_connect(host) for _ in range(number)]
    thread = threading.Thread(target=_renew, args=(host, opened, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)
        for each in opened:
            each.close()


def _renew(host: Host, opened: list[ssl.SSLSocket], ended: threading.Event) -> None:
    poll = select.poll()
    by_descriptor = {each.fileno(): number for number, each in enumerate(opened)}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while not ended.wait(INTERVAL / 10):
        for descriptor, _ in poll.poll(0):
            if _is_closed(opened[by_descriptor[descriptor]]):
                number = by_descriptor.pop(descriptor)
                poll.unregister(descriptor)
                opened[number].close()
                opened[number] = _connect(host)
                by_descriptor[opened[number].fileno()] = number
                poll.register(opened[number].fileno(), select.POLLIN | select.POLLHUP)


def _is_closed(connection: ssl.SSLSocket) -> bool:
    """Whether the service closed it; what it sends after the handshake is no answer."""
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True


@contextlib.contextmanager
def _uploading(host: Host, number: int) -> Iterator[None]:
    """Uploads of a package that send 2 KiB each second."""
    target = f"{PREFIX}/update{host.query('POST', '/update')}"
    head = (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MIB}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    ended = threading.Event()
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_connect(host)) for _ in range(number)]
        for each in opened:
            each.sendall(head.encode() + HEAD)
        thread = threading.Thread(target=_trickle, args=(opened, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(30)


def _trickle(opened: list[ssl.SSLSocket], ended: threading.Event) -> None:
    while not ended.wait(INTERVAL):
        for each in opened:
            each.sendall(bytes(TRICKLE))

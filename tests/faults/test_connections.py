"""Connections: slow and silent clients, in numbers, beside normal ones.

Headers must be complete after 8 seconds, a body may be silent for `limits.idle-body`, a TLS handshake takes at most 10.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

import pytest
from faultkit import (
    LONG,
    Scaled,
    Tally,
    client_of,
    connection,
    give_backup,
    percentile,
    plain_connection,
    resident,
    timed_get,
)
from pace import slowness

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

MIB = 1024 * 1024
LATENCY = 0.1 if LONG else 0.5  # seconds; a machine that runs other tests too has no better one
BODY = (
    f"POST {PREFIX}/setup?token={TOKEN}&dry-run=1 HTTP/1.1\r\nHost: x\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n--b\r\n"
).encode()
UPLOAD = (
    f"POST {PREFIX}/update?token={TOKEN} HTTP/1.1\r\nHost: x\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n--b\r\n"
    'Content-Disposition: form-data; name="update"; filename="x"\r\n\r\nsome'
).encode()


class Neighbour:
    """A client that goes on asking while something else happens, and measures."""

    def __init__(self, host: Host) -> None:
        self.times: list[float] = []
        self.statuses: set[int] = set()
        self._host = host
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        client = client_of(self._host, "127.0.0.77")
        while not self._stop.is_set():
            status, seconds = timed_get(self._host, client)
            self.statuses.add(status)
            self.times.append(seconds)
            time.sleep(0.01)
        client.close()

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def seconds_until_closed(sockets: list[socket.socket], limit: float, drip: bytes = b"") -> list[float]:
    """How long the host kept each connection; `limit` for those that it still keeps.

    :param drip: what every client goes on sending, a byte a second.
    """
    started = time.monotonic()
    kept: dict[socket.socket, float] = dict.fromkeys(sockets, limit)
    with selectors.DefaultSelector() as selector:
        for each in sockets:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        next_drip, position = 0.0, 0
        while selector.get_map() and time.monotonic() - started < limit:
            for key, _ in selector.select(0.2):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                if _is_closed(client):
                    selector.unregister(client)
                    kept[client] = time.monotonic() - started
            if drip and time.monotonic() - started >= next_drip:
                next_drip += 1
                for key in list(selector.get_map().values()):
                    with contextlib.suppress(OSError):
                        key.fileobj.send(drip[position % len(drip) :][:1])  # type: ignore[union-attr]  # sockets alone
                position += 1
    return list(kept.values())


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError as error:
        return "want" not in str(error).lower() and "did not complete" not in str(error)


def silent_header(host: Host) -> socket.socket:
    client = connection(host)
    client.sendall(f"GET {PREFIX}/version HTTP/1.1\r\nHost: x\r\nX-".encode())
    return client


def idle_body(host: Host) -> socket.socket:
    client = connection(host)
    client.sendall(BODY)
    return client


def idle_upload(host: Host) -> socket.socket:
    client = connection(host)
    client.sendall(UPLOAD)
    return client


KINDS: dict[str, tuple[Callable[[Host], socket.socket], bytes, float]] = {
    "says nothing before TLS": (plain_connection, b"", 12),
    "says nothing after TLS": (connection, b"", 10),
    "ends in the middle of a header": (silent_header, b"", 10),
    "drips a header": (silent_header, b"abcdefgh: b\r\nX-", 10),
    "drips a TLS handshake": (plain_connection, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(30), 12),
    "ends in the middle of a body": (idle_body, b"", 30),
    "ends in the middle of an upload": (idle_upload, b"", 30),
}


@pytest.mark.timeout(600)
def test_slow_clients_are_cut_off_and_slow_nobody_down(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, opened: list[socket.socket]
) -> None:
    host = jidoteki_host(limits={"idle-body": scaled(3, 20)})
    assert host.process
    number = scaled(8, 100)

    clients = {kind: [make(host) for _ in range(number)] for kind, (make, _, _) in KINDS.items()}
    kept: dict[str, list[float]] = {}
    threads = [
        threading.Thread(target=lambda k=kind: kept.update({k: seconds_until_closed(clients[k], 35, KINDS[k][1])}))
        for kind in KINDS
    ]
    opened.extend(each for kind in clients.values() for each in kind)
    with Neighbour(host) as neighbour:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    slow = slowness()
    for kind, (_, _, limit) in KINDS.items():
        for seconds in kept[kind]:
            tally.case(seconds <= limit + slow, f"{kind}: kept {seconds:.1f} s instead of {limit}")
    tally.case(neighbour.statuses == {200}, neighbour.statuses)
    tally.figure("p99 of others beside slow clients", f"{percentile(neighbour.times, 0.99) * 1000:.0f} ms")
    tally.case(
        percentile(neighbour.times, 0.99) <= LATENCY * slowness(), f"p99 {percentile(neighbour.times, 0.99):.3f} s"
    )
    assert tally.failed == []


@pytest.mark.skipif(not LONG, reason="it takes 35 seconds: its deadline begins after 30")
@pytest.mark.timeout(300)
def test_a_dripping_body_is_cut_off_by_its_average_rate(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, opened: list[socket.socket]
) -> None:
    host = jidoteki_host(limits={"minimum-upload-rate": 1024})
    opened.extend(idle_upload(host) for _ in range(scaled(2, 100)))

    kept = seconds_until_closed(opened, 45, b"x")

    for seconds in kept:
        tally.case(25 <= seconds <= 36, f"a body of a byte a second was read for {seconds:.0f} s")
    assert tally.failed == []
    assert list(host.appliance.spool.glob(".jidoteki-*")) == []


@pytest.mark.timeout(300)
def test_a_thousand_half_open_connections_take_little_memory(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, opened: list[socket.socket]
) -> None:
    host = jidoteki_host()
    assert host.process
    number = scaled(1000, 1100)

    with Neighbour(host) as neighbour:
        for _ in range(number):
            opened.append(plain_connection(host))
        for each in opened:
            each.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
        time.sleep(2)

    peak = resident(host.process.pid, peak=True)
    tally.case(peak <= 128 * MIB, f"{peak // MIB} MiB")
    tally.case(neighbour.statuses == {200}, neighbour.statuses)
    tally.case(
        percentile(neighbour.times, 0.99) <= LATENCY * slowness(), f"p99 {percentile(neighbour.times, 0.99):.3f} s"
    )
    tally.figure("memory with 1,000 half-open TLS connections", f"{peak // MIB} MiB")
    assert tally.failed == []


@pytest.mark.timeout(300)
def test_a_thousand_tls_connections_are_served(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, opened: list[socket.socket]
) -> None:
    host = jidoteki_host()
    assert host.process
    request = f"GET {PREFIX}/version{host.query('GET', '/version')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    for _ in range(scaled(200, 1000)):
        opened.append(connection(host))
    for each in opened:
        each.sendall(request)
    for each in opened:
        answer = each.recv(65536)
        tally.case(answer.startswith(b"HTTP/1.1 200") or not answer, answer[:80])

    peak = resident(host.process.pid, peak=True)
    tally.figure("memory with many served TLS connections", f"{peak // MIB} MiB")
    tally.case(peak <= 128 * MIB, f"{peak // MIB} MiB")
    assert tally.failed == []


def test_one_address_cannot_take_all_connections(
    jidoteki_host: MakeHost, tally: Tally, opened: list[socket.socket]
) -> None:
    host = jidoteki_host(limits={"connections": 40, "connections-per-address": 20})
    opened.extend(plain_connection(host, "127.0.0.5") for _ in range(60))

    with contextlib.closing(client_of(host, "127.0.0.6")) as client:
        status, _ = timed_get(host, client)

    tally.case(status == 200, status)
    assert tally.failed == []


def test_a_client_that_never_reads_its_download_costs_little_memory(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, opened: list[socket.socket]
) -> None:
    host = jidoteki_host()
    assert host.process
    give_backup(host, 200 * MIB)
    query = host.query("GET", "/backup/download")
    before = resident(host.process.pid)

    for _ in range(scaled(5, 40)):
        client = connection(host)
        client.sendall(f"GET {PREFIX}/backup/download{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        tally.case(client.recv(200).startswith(b"HTTP/1.1 200"), "it gets no download")
        opened.append(client)
    with Neighbour(host) as neighbour:
        time.sleep(3)

    more = resident(host.process.pid, peak=True) - before
    tally.figure("memory of clients that never read", f"+{more // MIB} MiB for {len(opened)}")
    tally.case(more <= 64 * MIB, f"+{more // MIB} MiB")
    tally.case(neighbour.statuses == {200}, neighbour.statuses)
    assert tally.failed == []

"""Clients that do not take their answers are cut off, those that take them slowly are served, and the service ends.

A client may take nothing for three times `limits.idle-body`, and must take `limits.minimum-upload-rate` on average.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faultkit import LONG, Tally, address_of, client_of, connection, give_backup, timed_get, tls_context
from pace import slowness

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import TOKEN, MakeHost

MIB = 1024 * 1024
ESTABLISHED = "01"
SMALL = 4096
DOCS = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"
IDLE = 2
STALL = 3 * IDLE


def small_buffer(host: Host, plain: bool = False) -> socket.socket:
    """A connection whose kernel takes next to nothing for a client that does not read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    raw.settimeout(30)
    raw.connect(_plain_address(host) if plain else address_of(host))
    return raw if plain else tls_context(host).wrap_socket(raw, server_hostname="127.0.0.1")


def _plain_address(host: Host) -> tuple[str, int]:
    name, _, port = host.plain_url.removeprefix("http://").partition(":")
    return name, int(port)


def held(host: Host) -> int:
    """The connections of the host that the kernel calls established."""
    ports = {f"{number:04X}" for number in (address_of(host)[1], _plain_address(host)[1])}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[1].partition(":")[2] in ports and line[3] == ESTABLISHED)


def download(client: socket.socket) -> socket.socket:
    client.sendall(f"GET {PREFIX}/backup/download?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def pipelined(client: socket.socket) -> socket.socket:
    client.sendall(DOCS * 100)
    return client


NEVER_READ: dict[str, Callable[[Host], socket.socket]] = {
    "pages over TLS": lambda host: pipelined(small_buffer(host)),
    "pages over HTTP": lambda host: pipelined(small_buffer(host, plain=True)),
    "a download over TLS": lambda host: download(small_buffer(host)),
    "a download over HTTP": lambda host: download(small_buffer(host, plain=True)),
}


def served(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host(start=False, limits={"idle-body": IDLE})
    give_backup(host, 32 * MIB)
    return host.start("--http-port", "0")


@pytest.mark.parametrize("kind", NEVER_READ)
def test_a_client_that_takes_nothing_is_cut_off(
    jidoteki_host: MakeHost, tally: Tally, opened: list[socket.socket], kind: str
) -> None:
    host = served(jidoteki_host)
    number = 40 if LONG else 10
    opened.extend(NEVER_READ[kind](host) for _ in range(number))
    assert held(host) >= number

    ended = time.monotonic() + STALL + 10
    while held(host) and time.monotonic() < ended:
        time.sleep(0.2)

    tally.case(held(host) == 0, f"{kind}: {held(host)} of {number} are held")
    assert tally.failed == []


@pytest.mark.parametrize("plain", [False, True], ids=["TLS", "HTTP"])
def test_a_client_that_stops_taking_its_download_is_cut_off(
    jidoteki_host: MakeHost, tally: Tally, opened: list[socket.socket], plain: bool
) -> None:
    host = served(jidoteki_host)
    client = download(small_buffer(host, plain))
    opened.append(client)
    assert client.recv(65536).startswith(b"HTTP/1.1 200")
    received = 0
    while received < 4 * MIB:
        received += len(client.recv(65536))
    wait_until(lambda: held(host) == 1, STALL)  # that of the kit, which asked whether it serves, may be there yet

    ended = time.monotonic() + STALL + 4
    while held(host) and time.monotonic() < ended:
        time.sleep(0.2)

    tally.case(held(host) == 0, "it is held")
    assert tally.failed == []


@pytest.mark.parametrize("plain", [False, True], ids=["TLS", "HTTP"])
def test_a_client_that_takes_its_download_slowly_is_served(
    jidoteki_host: MakeHost, tally: Tally, opened: list[socket.socket], plain: bool
) -> None:
    host = served(jidoteki_host)
    client = download(small_buffer(host, plain))
    opened.append(client)
    assert client.recv(200).startswith(b"HTTP/1.1 200")

    ended = time.monotonic() + 3 * STALL
    while time.monotonic() < ended:
        assert client.recv(2048)
        time.sleep(0.2)

    tally.case(held(host) == 1, "it was cut off")
    assert tally.failed == []


def stalled_handshake(host: Host) -> socket.socket:
    """A ClientHello, and nothing after it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = tls_context(host).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    raw = socket.create_connection(address_of(host), 30)
    raw.sendall(outgoing.read())
    return raw


def upload(host: Host) -> socket.socket:
    client = connection(host)
    client.sendall(
        f"POST {PREFIX}/update?token={TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        'Content-Disposition: form-data; name="update"; filename="x"\r\n\r\nsome'.encode()
    )
    return client


def guess_with_a_body(host: Host) -> socket.socket:
    client = connection(host)
    client.sendall(f"POST {PREFIX}/setup?token=wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nx".encode())
    return client


@pytest.mark.timeout(120)
def test_sigterm_ends_the_service_whatever_clients_do(
    jidoteki_host: MakeHost, tally: Tally, opened: list[socket.socket]
) -> None:
    host = served(jidoteki_host)
    assert host.process
    for make in (*NEVER_READ.values(), connection, stalled_handshake, upload, guess_with_a_body):
        opened.extend(make(host) for _ in range(4))
    dripping = upload(host)
    opened.append(dripping)
    ended = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.2):
                dripping.sendall(bytes(2048))

    thread = threading.Thread(target=drip)
    thread.start()
    patient = download(connection(host))
    opened.append(patient)
    time.sleep(1)

    started = time.monotonic()
    host.process.send_signal(signal.SIGTERM)
    received = 0
    while received < 32 * MIB and (chunk := patient.recv(65536)):
        received += len(chunk)
        time.sleep(0.001)
    status = host.process.wait(30)
    seconds = time.monotonic() - started
    ended.set()
    thread.join()

    tally.case(received >= 32 * MIB, f"a download that was under way got {received} bytes")
    tally.case(seconds <= 12, f"it took {seconds:.1f} s")
    tally.case(status == 0, f"status {status}")
    tally.figure("SIGTERM beside clients of all kinds", f"{seconds:.1f} s")
    assert tally.failed == []


def test_idle_clients_do_not_keep_the_service_from_ending(jidoteki_host: MakeHost, opened: list[socket.socket]) -> None:
    host = served(jidoteki_host)
    assert host.process
    opened.extend(make(host) for make in (connection, stalled_handshake) for _ in range(4))
    with contextlib.closing(client_of(host)) as client:
        assert timed_get(host, client)[0] == 200

        started = time.monotonic()
        host.process.send_signal(signal.SIGTERM)
        host.process.wait(30)

    assert time.monotonic() - started <= 3 * slowness()

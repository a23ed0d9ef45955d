"""Clients that close their side after a complete request, by TCP or by TLS, are answered; others are disconnected."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, MakeHost
from jidoteki.testing.fixtures import TOKEN

Send = Callable[[Host, bytes], bytes]

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(start=False).start("--http-port", "0")


def request(method: str, path: str, headers: str = "", body: bytes = b"", missing: int = 0) -> bytes:
    """Return a request whose body lacks some bytes."""
    line = f"{method} {PREFIX}{path}?token={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    return f"{line}{headers}Content-Length: {len(body) + missing}\r\n\r\n".encode() + body


def over_tcp(host: Host, content: bytes) -> bytes:
    """Return the response to a client that closes its side of the connection."""
    with socket.create_connection(("127.0.0.1", int(host.plain_url.rpartition(":")[2])), 20) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        return all_of(client)


def over_tls(host: Host, content: bytes) -> bytes:
    """Return the response to a client that sends close_notify after its request."""
    name, _, port = host.url.removeprefix("https://").partition(":")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(host.certificate))
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with socket.create_connection((name, int(port)), 20) as client:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                incoming.write(client.recv(65536))
        tls.write(content)
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        client.sendall(outgoing.read())
        incoming.write(all_of(client))
    incoming.write_eof()
    answer = b""
    try:
        while part := tls.read(65536):
            answer += part
    except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
        pass
    return answer


def all_of(client: socket.socket) -> bytes:
    received = b""
    try:
        while part := client.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


WAYS = pytest.mark.parametrize("send", [over_tcp, over_tls])
NEW_TOKEN = urlencode({"newtoken": TOKEN}).encode()
CHUNKED = f"6\r\nnewtok\r\n{len(NEW_TOKEN) - 6:x}\r\n".encode() + NEW_TOKEN[6:] + b"\r\n0\r\n\r\n"
IN_CHUNKS = request("POST", "/setup", FORM, CHUNKED).replace(
    f"Content-Length: {len(CHUNKED)}".encode(), b"Transfer-Encoding: chunked"
)


@WAYS
@pytest.mark.parametrize(
    "content",
    [
        request("GET", "/version"),
        request("POST", "/setup", FORM, NEW_TOKEN),
        IN_CHUNKS,
        request("GET", "/version") * 3,
    ],
    ids=["no body", "a body", "chunks", "three"],
)
def test_who_sent_a_whole_request_is_answered(host: Host, send: Send, content: bytes) -> None:
    began = time.monotonic()

    answer = send(host, content)

    assert answer.count(b"HTTP/1.1 200 OK\r\n") == content.count(b" HTTP/1.1\r\n"), answer
    assert time.monotonic() - began < 6  # and the connection ends


@WAYS
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GET ",
        request("GET", "/version")[:-2],
        request("POST", "/setup", FORM, NEW_TOKEN, missing=1),
        IN_CHUNKS[:-2],
    ],
    ids=["nothing", "a word", "half a header", "half a body", "half of the chunks"],
)
def test_who_did_not_is_let_go_at_once(host: Host, send: Send, content: bytes) -> None:
    began = time.monotonic()

    assert send(host, content) == b""

    assert time.monotonic() - began < 6


@WAYS
def test_a_download_comes_whole(host: Host, send: Send) -> None:
    assert host.post("/backup", "-F", "action=START").status == 202
    host.wait_for_job("/backup")
    size = len(host.get("/backup/download").body)

    answer = send(host, request("GET", "/backup/download"))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(answer.partition(b"\r\n\r\n")[2]) == size


@pytest.mark.parametrize("content", [b"", request("GET", "/version")], ids=["nothing", "a request"])
def test_connections_that_are_reset_at_once_are_no_errors(host: Host, content: bytes) -> None:
    name, _, port = host.url.removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=str(host.certificate))
    for _ in range(60):
        with context.wrap_socket(socket.create_connection((name, int(port)), 20), server_hostname=name) as client:
            client.sendall(content)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert host.get("/version").status == 200
    host.stop()

    log = (host.appliance.log / "jidoteki-admin-api.log").read_text() + host.errors()
    assert "ERROR" not in log and "Traceback" not in log

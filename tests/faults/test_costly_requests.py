"""What one client does, or one small token, costs nobody else their turn, their memory or their log."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from faultkit import Reply, ask, connection, plain_connection, read_reply, resident
from pace import slowness

from jidoteki.core.http import parts
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import TOKEN, MakeHost

TOKENS = {"named-tokens": True, "signatures": False}


def robot(host: Host, scopes: str) -> str:
    token: str = host.post("/tokens", "-F", "name=robot", "-F", f"scopes={scopes}").json["token"]
    return token


def test_clients_that_hang_up_leave_no_traceback_in_the_log(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False).start("--http-port", "0")
    name, _, port = host.plain_url.removeprefix("http://").partition(":")

    def hang_up(number: int) -> None:
        path = ("/docs", f"{PREFIX}/version?token=wrong")[number % 2]
        client = socket.create_connection((name, int(port)), 10, source_address=(f"127.0.1.{number % 20 + 1}", 0))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.02)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(hang_up, range(400)))
    assert ask(host, "GET", "/version", f"token={TOKEN}", source="127.0.0.9").status == 200
    host.stop()

    assert "Traceback" not in host.errors()
    assert "Traceback" not in (host.appliance.log / "jidoteki-admin-api.log").read_text()


@pytest.mark.parametrize("filling", ['1"', ";", "a=", '";', "=?x?q?", "("])
def test_no_content_type_keeps_others_waiting(jidoteki_host: MakeHost, filling: str) -> None:
    host = jidoteki_host(enable=("tokens",), authentication=TOKENS)
    token = robot(host, "POST /backup")
    content_type = "a/b;" + filling * (7000 // len(filling))
    head = (
        f"POST {PREFIX}/backup?dry-run=1&token={token} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
        f"Content-Type: {content_type}\r\n\r\n"
    )

    with connection(host, "127.0.0.5") as client:
        began = time.monotonic()
        client.sendall(head.encode())
        answer = read_reply(client)

    assert answer.status in (400, 415)
    assert time.monotonic() - began < 0.7 * slowness()


def stalled(host: Host, source: str) -> socket.socket:
    """A connection that begins a handshake and never ends it."""
    client = plain_connection(host, source)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    client.sendall(outgoing.read())
    return client


def slow_handshake(host: Host, source: str, seconds: float) -> Reply:
    """A request over a line on which each step of the handshake takes its time."""
    client = plain_connection(host, source)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl._create_unverified_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.sendall(outgoing.read())
            received = client.recv(65536)
            if not received:
                return Reply(0, {}, b"")
            incoming.write(received)
            time.sleep(seconds)
    tls.write(f"GET {PREFIX}/version?token={TOKEN} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    client.sendall(outgoing.read())
    received = b""
    while chunk := client.recv(65536):
        incoming.write(chunk)
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while piece := tls.read(65536):
                received += piece
    return Reply(int(received.split()[1]), {}, received)


@pytest.mark.timeout(180)
def test_stalled_handshakes_of_one_network_keep_no_other_from_theirs(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    with ExitStack() as opened:
        for _ in range(600):
            opened.enter_context(stalled(host, "127.0.0.66"))
        began = time.monotonic()
        quick = ask(host, "GET", "/version", f"token={TOKEN}", source="127.0.0.7")
        taken = time.monotonic() - began
        slow = slow_handshake(host, "127.0.0.8", 1.5)

    assert (quick.status, slow.status) == (200, 200)
    assert taken < 1.5 * slowness()


@pytest.mark.timeout(180)
def test_unfinished_forms_of_one_token_take_little_memory(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens",), authentication=TOKENS)
    token = robot(host, "POST /certs")
    assert host.process
    ask(host, "GET", "/version", f"token={TOKEN}")
    before = resident(host.process.pid)
    part = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n' + bytes(1_000_000) + b"\r\n"
    body = b"".join(part % name for name in (b"public", b"private", b"ca"))
    head = (
        f"POST {PREFIX}/certs?token={token} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body) + 100}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    ).encode()

    with ExitStack() as opened:
        refused = 0
        for number in range(24):
            client = opened.enter_context(connection(host, f"127.0.2.{number + 1}"))
            client.settimeout(0.2)
            client.sendall(head + body)
            refused += read_reply(client).status == 503
        grown = resident(host.process.pid, peak=True) - before
        others = ask(host, "POST", "/backup", f"token={TOKEN}&dry-run=1", {"Content-Type": "a/b"}, b"").status

    assert refused >= 15
    assert grown < 64 * 1024 * 1024, grown
    assert others == 400, "another user's form is read"
    wait_until(lambda: ask(host, "GET", "/version", f"token={TOKEN}").status == 200)


def test_the_audit_log_names_each_thing_that_was_downloaded(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens",), authentication=TOKENS)
    token = robot(host, "read")
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")

    for path in ("/logs", "/backup/download", "/debug", "/logs"):
        assert ask(host, "GET", path, f"token={token}").status == 200
    host.stop()

    told = [line[5] for line in host.audit() if line[4] == "download" and line[3] == "robot"]
    paths = [f"GET {PREFIX}{path}" for path in ("/logs", "/backup/download", "/debug")]
    assert told == [*paths, f"{paths[0]} and 1 more within 60 seconds"]


def test_uploads_together_leave_the_reserve_free(tmp_path: Path) -> None:
    room = parts.Room(tmp_path, lambda: 100)

    with patch.object(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000)):
        for _ in range(9):
            room.take(100)
        with patch.object(shutil, "disk_usage", lambda path: SimpleNamespace(free=100)):
            with pytest.raises(OSError, match="less than 100 bytes would be free"):
                room.take(100)


@pytest.mark.parametrize("chunk", [b"ffffffffffffffffff\r\n", b"zz\r\n", b"5\nhello\n", b"5\r\nhelloXX"], ids=repr)
def test_a_damaged_chunk_is_refused_at_once(jidoteki_module_host: Host, chunk: bytes) -> None:
    host = jidoteki_module_host
    head = (
        f"POST {PREFIX}/setup?token={TOKEN} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )

    with connection(host) as client:
        began = time.monotonic()
        client.sendall(head.encode() + chunk)
        answer = read_reply(client)

    assert answer.status == 400
    assert time.monotonic() - began < 3

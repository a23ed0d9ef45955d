"""Memory that clients take before anybody is authenticated: bounded in bytes, for each and for all of them.

At most 64 KiB for a connection, and 64 MiB for as many as there may be.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable

import pytest
from faultkit import Scaled, Tally, address_of, ask, resident, tls_context

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

KIB, MIB = 1024, 1024 * 1024
EACH = 64 * KIB
ALL = 64 * MIB
ONCE = 4 * MIB  # what is there once, whoever it is for, such as threads and their memory
RECORD = b"\x17\x03\x03\x40\x00" + bytes(16383)

Attack = Callable[[Host, ssl.SSLContext, str], socket.socket]


def plain(host: Host, source: str) -> socket.socket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.bind((source, 0))
    raw.settimeout(10)
    raw.connect(address_of(host))
    return raw


def push(client: socket.socket, content: bytes) -> None:
    """Send as much of it as is taken at once."""
    client.setblocking(False)
    with contextlib.suppress(OSError):
        for start in range(0, len(content), 8192):
            client.send(content[start : start + 8192])


def sending(content: bytes, record: bytes = b"") -> Attack:
    """Send this over TLS and read nothing.

    :param record: the beginning of a further record of TLS.
    """

    def attack(host: Host, context: ssl.SSLContext, source: str) -> socket.socket:
        client = context.wrap_socket(plain(host, source), server_hostname="127.0.0.1")
        push(client, content)
        with contextlib.suppress(OSError), socket.socket(fileno=client.fileno()) as raw:
            push(raw, record)
            raw.detach()
        return client

    return attack


def silent(host: Host, context: ssl.SSLContext, source: str) -> socket.socket:
    return plain(host, source)


def long_hello(host: Host, context: ssl.SSLContext, source: str) -> socket.socket:
    """The beginning of a ClientHello of 130,000 bytes, for which OpenSSL makes room at once."""
    raw = plain(host, source)
    push(raw, (b"\x16\x03\x01\x40\x00\x01" + (130_000).to_bytes(3, "big") + bytes(16380)) * 3)
    return raw


def stalled_handshake(host: Host, context: ssl.SSLContext, source: str) -> socket.socket:
    outgoing = ssl.MemoryBIO()
    hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    raw = plain(host, source)
    push(raw, outgoing.read())
    return raw


LINES = b"".join(b"A%d: " % number + b"x" * 120 + b"\r\n" for number in range(58))
LONG_LINES = b"".join(b"A%03d: " % number + b"x" * 8180 + b"\r\n" for number in range(126))
ODD_LINES = b"".join(b"A%d: " % number + b"\xff" * 60 + b"\r\n" for number in range(25))
DOCS = b"GET /docs HTTP/1.1\r\nHost: x\r\n"
GUESS = f"POST {PREFIX}/setup?token=wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 700000\r\n".encode()
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"

ATTACKS: dict[str, Attack] = {
    "nothing": silent,
    "the beginning of a long ClientHello": long_hello,
    "a ClientHello": stalled_handshake,
    "an unfinished record": sending(b"", RECORD),
    "an unfinished header": sending(DOCS + LINES),
    "an unfinished header and an unfinished record": sending(DOCS + LINES, RECORD),
    "an unfinished header of short lines": sending(DOCS + b"".join(b"A%d:\r\n" % number for number in range(60))),
    "an unfinished header of long lines": sending(DOCS + LONG_LINES),
    "requests one behind the other": sending((DOCS + b"\r\n") * 45 + (DOCS + LINES + b"\r\n") * 60),
    "requests with long headers one behind the other": sending((DOCS + b"\r\n") * 45 + (DOCS + LONG_LINES + b"\r\n")),
    "guesses with bodies": sending(GUESS + FORM + b"\r\n" + b"a" * 700_000),
    "guesses with long headers": sending(GUESS + LINES + b"\r\n" + b"a" * 9000),
    "guesses with headers that are not ASCII": sending(GUESS + ODD_LINES + b"\r\n" + b"a" * 9000),
}


def address(number: int) -> str:
    """An address for each ten connections: of one alone no more than 16 guesses wait."""
    return f"127.3.{number // 2000}.{5 + number // 10 % 200}"


def growth(host: Host, attack: Attack, number: int, opened: list[socket.socket]) -> int:
    """The bytes by which the host grows while so many attack it."""
    assert host.process
    context = tls_context(host)
    for _ in range(3):
        ask(host, "GET", "/version", source="127.0.0.9")
        with contextlib.suppress(OSError):
            attack(host, context, "127.0.0.10").close()
    time.sleep(0.5)
    before = resident(host.process.pid)
    for each in range(number):
        with contextlib.suppress(OSError):
            opened.append(attack(host, context, address(each)))
    time.sleep(1)
    return resident(host.process.pid, peak=True) - before


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ATTACKS)
def test_clients_that_nobody_knows_take_little_memory(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, opened: list[socket.socket], kind: str
) -> None:
    host = jidoteki_host()
    number = scaled(200, 1490)

    more = growth(host, ATTACKS[kind], number, opened)

    tally.case(more <= min(ALL, number * EACH + ONCE), f"{kind}: +{more // MIB} MiB, {more // number // KIB} KiB each")
    tally.figure(f"memory of {number:,} clients that send {kind}", f"+{more / MIB:.0f} MiB")
    tally.case(ask(host, "GET", "/version", source="127.0.0.9").status == 403, "others are not served")
    assert tally.failed == []

"""What the rows of the fault suite share: counting, and a client that can behave badly."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host

LONG = os.environ.get("JIDOTEKI_FAULTS") == "long"

Scaled = Callable[[int, int], int]


def some(every: Iterable[str], short: Iterable[str]) -> list[str]:
    """All cases in the long version, the telling ones in the short one."""
    return list(every) if LONG else list(short)


@dataclass
class Tally:
    """How many cases of a row were run, which of them failed, and what was measured."""

    row: str
    cases: int = 0
    failed: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def case(self, held: object, description: object) -> None:
        """Count one case."""
        self.cases += 1
        if not held:
            self.failed.append(str(description))

    def figure(self, name: str, value: str) -> None:
        """Keep a measured figure for the report."""
        self.figures[name] = value


@dataclass(frozen=True)
class Reply:
    """What came back: status 0 means that the connection ended without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def address_of(host: Host) -> tuple[str, int]:
    """Where the host listens."""
    name, port = host.url.removeprefix("https://").split(":")
    return name, int(port)


def tls_context(host: Host) -> ssl.SSLContext:
    """A client's context that trusts the host's certificate."""
    return ssl.create_default_context(cafile=str(host.appliance.system_etc / "pki/tls/certs/enterprise.crt"))


def plain_connection(host: Host, source: str = "127.0.0.1", seconds: float = 30) -> socket.socket:
    """A TCP connection without TLS."""
    return socket.create_connection(address_of(host), seconds, source_address=(source, 0))


def connection(host: Host, source: str = "127.0.0.1", seconds: float = 30) -> ssl.SSLSocket:
    """A TLS connection."""
    return tls_context(host).wrap_socket(plain_connection(host, source, seconds), server_hostname="127.0.0.1")


def ask(
    host: Host,
    method: str,
    path: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    source: str = "127.0.0.1",
) -> Reply:
    """One request of a well-behaved client, over plain HTTP where the host serves it, else over TLS.

    :param path: without the prefix.
    """
    client = client_of(host, source)
    try:
        client.request(method, f"{PREFIX}{path}{'?' if query else ''}{query}", body, dict(headers or {}))
        answer = client.getresponse()
        has_an_end = answer.getheader("Content-Type") != "text/event-stream"
        return Reply(answer.status, dict(answer.getheaders()), answer.read() if has_an_end else b"")
    finally:
        client.close()


def give_backup(host: Host, size: int) -> None:
    """Give the host a backup of this many bytes to be downloaded."""
    for directory in (host.appliance.spool, host.appliance.uploads):
        host.appliance.replace_file(directory / "backup.tar", bytes(size))
        facts = {"status": "success", "filesize": "1.0M", "sha256": "0" * 64, "size": size}
        host.appliance.replace_file(directory / "backup.json", json.dumps(facts))


def client_of(host: Host, source: str = "127.0.0.1") -> http.client.HTTPConnection:
    """A connection for one request after the other."""
    if host.plain_url:
        name, _, port = host.plain_url.removeprefix("http://").partition(":")
        return http.client.HTTPConnection(name, int(port), timeout=60, source_address=(source, 0))
    name, number = address_of(host)
    return http.client.HTTPSConnection(name, number, timeout=60, context=tls_context(host), source_address=(source, 0))


def read_reply(client: socket.socket) -> Reply:
    """Read one answer of a raw connection."""
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            chunk = client.recv(65536)
            if not chunk:
                return Reply(0, {}, received)
            received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        while len(body) < int(headers.get("Content-Length", 0)):
            chunk = client.recv(65536)
            if not chunk:
                break
            body += chunk
    except (ConnectionError, ssl.SSLError, TimeoutError):
        return Reply(0, {}, received)
    return Reply(int(lines[0].split()[1]), headers, body)


def send(host: Host, content: bytes, source: str = "127.0.0.1") -> Reply:
    """Send bytes as they are and return the first answer."""
    with connection(host, source) as client:
        try:
            client.sendall(content)
        except (ConnectionError, ssl.SSLError):
            pass  # the host may have answered and closed before everything was sent
        return read_reply(client)


def multipart(*parts: tuple[str, bytes], files: bool = True) -> tuple[bytes, dict[str, str]]:
    """A form and its headers."""
    boundary = b"------faults"
    body = b""
    for name, content in parts:
        filename = b'; filename="f"' if files else b""
        body += b"--" + boundary + b'\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + filename
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + b"--" + boundary + b"--\r\n", {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}


def resident(pid: int, peak: bool = False) -> int:
    """Memory of a process in bytes, now or at its highest."""
    name = "VmHWM" if peak else "VmRSS"
    match = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def is_open(pid: int, name: str) -> bool:
    """Whether a process has a file of this name open."""
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it may be closed meanwhile
            if each.readlink().name == name:
                return True
    return False


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def timed_get(host: Host, client: http.client.HTTPConnection, path: str = "/version") -> tuple[int, float]:
    """Status and seconds of one GET on a connection that is kept."""
    started = time.monotonic()
    client.request("GET", f"{PREFIX}{path}{host.query('GET', path)}")
    answer = client.getresponse()
    answer.read()
    return answer.status, time.monotonic() - started

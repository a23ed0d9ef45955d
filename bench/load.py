"""Requests on keep-alive connections, one at a time on each, from a process of its own; see `bench.generator`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from bench import servers
from bench.generator import CONNECTING, RECEIVED, Load
from bench.servers import pinned
from jidoteki.testing import Host


def measure(
    address: str, request: bytes, *, tls: bool, seconds: float, connections: int = 16, pause: float = 0, core: int = 1
) -> Load:
    """Run the load in a process of its own.

    :param pause: seconds between an answer and the next request.
    :raises subprocess.CalledProcessError: it could not connect.
    """
    with begin(address, request, tls=tls, seconds=seconds, connections=connections, pause=pause, core=core) as process:
        return result(process)


def begin(
    address: str, request: bytes, *, tls: bool, seconds: float, connections: int = 16, pause: float = 0, core: int = 1
) -> subprocess.Popen[bytes]:
    """Start the load; `result` waits for the end of it."""
    argv = [sys.executable, "-m", "bench.generator", address, str(seconds), str(connections), str(pause)]
    process = subprocess.Popen(
        [*pinned(core), *argv, *(["--tls"] if tls else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    process.stdin.write(request)
    process.stdin.close()
    process.stdin = None
    return process


def result(process: subprocess.Popen[bytes]) -> Load:
    """Wait for a load and return what it measured."""
    out, _ = process.communicate(timeout=300)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Load(**json.loads(out))


def rate(host: Host, seconds: float, tls: bool = False) -> dict[str, float]:
    """Requests a second and p99 of a host's `GET /version`.

    :raises AssertionError: a request failed.
    """
    return rate_at(servers.place(host).address(tls), servers.request(host), seconds, tls)


def rate_at(address: str, request: bytes, seconds: float, tls: bool) -> dict[str, float]:
    """The same of any server."""
    measured = measure(address, request, tls=tls, seconds=seconds)
    if measured.failed:
        raise AssertionError(f"{measured.failed} requests failed")
    return {"rate": measured.rate, "p99": measured.p99}


def first_answer(host: Host) -> bytes:
    """What a host answers `GET /version` over plain HTTP, head and body."""
    with socket.create_connection(("127.0.0.1", servers.place(host).port), CONNECTING) as connection:
        connection.sendall(servers.request(host))
        answer = connection.recv(RECEIVED)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise AssertionError(answer)
    return answer

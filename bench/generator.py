"""The process of a load: `python -m bench.generator [options]`, the request on standard input, the figures as JSON on
standard output.

Cheaper than any server it measures, and to start: plain sockets, epoll and nothing from outside the standard library. A
connection sends its next request when the whole answer to the last one is there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

RECEIVED = 256 * 1024
CONNECTING = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured. Times are in milliseconds."""

    rate: float
    p50: float
    p99: float
    worst: float
    requests: int
    failed: int


class _Connection:
    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        plain = socket.create_connection((host, port), CONNECTING)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain) if context else plain
        self.socket.setblocking(False)
        self.descriptor = self.socket.fileno()
        self.got = b""
        self.began = 0.0
        self.due = 0.0

    def receive(self) -> bool:
        """Take what came; whether the answer is complete.

        :raises OSError: the connection is lost.
        """
        while True:
            try:
                piece = self.socket.recv(RECEIVED)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            if not piece:
                raise ConnectionResetError
            self.got += piece
            head = self.got.find(b"\r\n\r\n")
            if head >= 0 and len(self.got) >= head + 4 + _length(self.got, head):
                return True


def _length(answer: bytes, head: int) -> int:
    start = answer.find(b"Content-Length: ", 0, head) + 16
    return int(answer[start : answer.index(b"\r", start)])


def _run(host: str, port: int, request: bytes, tls: bool, seconds: float, count: int, pause: float) -> Load:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connections = [_Connection(host, port, context) for _ in range(count)]
    by_descriptor = {each.descriptor: each for each in connections}
    poll = select.epoll()
    times: list[float] = []
    failed = 0
    clock = time.perf_counter
    started = clock()
    waiting: list[_Connection] = []
    for each in connections:
        poll.register(each.descriptor, select.EPOLLIN)
        each.began = clock()
        each.socket.send(request)
    while (now := clock()) - started < seconds and by_descriptor:
        while waiting and waiting[0].due <= now:
            each = waiting.pop(0)
            each.began = clock()
            each.socket.send(request)
        for descriptor, _ in poll.poll(max(0.0, waiting[0].due - now) if waiting else 0.1):
            each = by_descriptor[descriptor]
            try:
                if not each.receive():
                    continue
                times.append(clock() - each.began)
                failed += not each.got.startswith(b"HTTP/1.1 200")
                each.got = b""
                if pause:
                    each.due = clock() + pause
                    waiting.append(each)
                    continue
                each.began = clock()
                each.socket.send(request)
            except OSError:
                failed += 1
                poll.unregister(descriptor)
                del by_descriptor[descriptor]
    return _figures(times, failed, clock() - started)


def _figures(times: Sequence[float], failed: int, seconds: float) -> Load:
    ordered = sorted(times) or [float("inf")]
    p50, p99 = (ordered[int((len(ordered) - 1) * part)] * 1000 for part in (0.5, 0.99))
    return Load(len(times) / seconds, p50, p99, ordered[-1] * 1000, len(times), failed)


def _go_first() -> None:
    """Do not wait for a processor, which a request would seem to take longer for; only as root."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("seconds", type=float)
    parser.add_argument("connections", type=int)
    parser.add_argument("pause", type=float)
    parser.add_argument("--tls", action="store_true")
    given = parser.parse_args()
    host, port = given.address.rsplit(":", 1)
    if given.pause:
        _go_first()
    load = _run(host, int(port), sys.stdin.buffer.read(), given.tls, given.seconds, given.connections, given.pause)
    print(json.dumps({name: getattr(load, name) for name in Load.__slots__}))


if __name__ == "__main__":
    main()

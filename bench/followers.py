"""The process of clients that follow events: `python -m bench.followers HOST:PORT COUNT LAST`, a request on its input.

Each prints nothing but takes what comes, over TLS, until the event whose data say that it is number LAST. Then one line
of JSON: how many clients got every event in order, and the seconds from the first event to the last. The line `ready`
comes before, when all have the first bytes of their streams.
"""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import sys
import time

CONNECT_TIMEOUT = 10.0
#: Seconds without anything, after which the rest is lost.
SILENCE_TIMEOUT = 20.0
PIECE = 256 * 1024
_TICK = re.compile(rb'event: bench\.tick\ndata: \{"number":(\d+)')


class _Follower:
    def __init__(self, host: str, port: int, request: bytes) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(socket.create_connection((host, port), CONNECT_TIMEOUT))
        self.socket.sendall(request)
        self.rest = self.socket.recv(PIECE)
        if not self.rest.startswith(b"HTTP/1.1 200"):
            raise AssertionError(self.rest)
        self.socket.setblocking(False)
        self.next = 1
        self.in_order = True

    def take(self) -> None:
        """Take what has come.

        :raises OSError: the stream has ended.
        """
        while True:
            try:
                piece = self.socket.recv(PIECE)
            except (ssl.SSLWantReadError, BlockingIOError):
                break
            if not piece:
                raise ConnectionResetError
            self.rest += piece
        whole, end, rest = self.rest.rpartition(b"\n\n")
        self.rest = rest if end else self.rest
        for number in _TICK.findall(whole):
            self.in_order = self.in_order and int(number) == self.next
            self.next += 1


def main() -> None:
    """The process."""
    host, port = sys.argv[1].rsplit(":", 1)
    count, last = int(sys.argv[2]), int(sys.argv[3])
    request = sys.stdin.buffer.read()
    poll = select.epoll()
    followers = {}
    for each in (_Follower(host, int(port), request) for _ in range(count)):
        followers[each.socket.fileno()] = each
        poll.register(each.socket.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    began = ended = 0.0
    while any(each.next <= last for each in followers.values()):
        ready = poll.poll(SILENCE_TIMEOUT)
        if not ready:
            break
        for descriptor, _ in ready:
            followers[descriptor].take()
        ended = time.perf_counter()
        if not began and any(each.next > 1 for each in followers.values()):
            began = ended
    whole = sum(each.in_order and each.next == last + 1 for each in followers.values())
    print(json.dumps({"whole": whole, "seconds": ended - began}))


if __name__ == "__main__":
    main()

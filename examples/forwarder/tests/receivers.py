"""What receives in the tests: a webhook and syslog servers on loopback."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """A webhook; `status` is what it answers, and only what it answered 200 counts as received."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.attempts = 0
        self.received: list[dict[str, Any]] = []
        self.authorization: str | None = None
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.attempts += 1
                hook.authorization = self.headers["Authorization"]
                if hook.status == 200:
                    hook.received.append(json.loads(body))
                self.send_response(hook.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/events"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop receiving."""
        self._server.shutdown()
        self._server.server_close()

    def actions(self) -> list[str]:
        """The actions of what was received, in order."""
        return [event["action"] for event in self.received]


class Syslog:
    """A syslog server over TCP or UDP."""

    def __init__(self, protocol: str) -> None:
        self.messages: list[str] = []
        messages = self.messages

        class Stream(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                length, _, message = self.rfile.read().partition(b" ")
                assert len(message) == int(length)
                messages.append(message.decode())

        class Datagram(socketserver.DatagramRequestHandler):
            def handle(self) -> None:
                messages.append(self.rfile.read().decode())

        self._server: socketserver.BaseServer
        if protocol == "tcp":
            self._server = tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stream)
            port = tcp.server_address[1]
        else:
            self._server = udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Datagram)
            port = udp.server_address[1]
        self.address = f"{protocol}://127.0.0.1:{port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop receiving."""
        self._server.shutdown()
        self._server.server_close()

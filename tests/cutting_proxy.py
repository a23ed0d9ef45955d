"""A line that is cut again and again: a proxy that ends connections after so many bytes from the client."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class CuttingProxy:
    """Hands on what comes, and cuts the line after `each` bytes, `cuts` times in all.

    :param url: of the host behind it.
    """

    def __init__(self, url: str, each: int, cuts: int) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 443))
        self._each = each
        self._left = each
        #: How many cuts are still to come.
        self.cuts = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for arguments in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._hand_on, args=arguments, daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(64 * 1024):
                target.sendall(data)
                if counted and self._is_over(len(data)):
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _is_over(self, size: int) -> bool:
        with self._lock:
            self._left -= size
            if self._left > 0 or not self.cuts:
                return False
            self._left = self._each
            self.cuts -= 1
            return True


@contextlib.contextmanager
def cutting(url: str, each: int, cuts: int) -> Iterator[CuttingProxy]:
    """Such a line to a host, for a while."""
    proxy = CuttingProxy(url, each, cuts)
    try:
        yield proxy
    finally:
        proxy.close()

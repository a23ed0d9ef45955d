"""Accepting connections: capped in all and by address before the handshake, with the certificate in force now."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from jidoteki.core.clients import SITE_BITS, network_of
from jidoteki.core.responses import error_response
from jidoteki.hookspecs import ApiError

logger = logging.getLogger(__name__)

BACKLOG = 1024
HANDSHAKE_TIME = 10.0
HEADER_TIME = 8.0
LINGERING_TIME = 1.0
READ_BUFFER = 256 * 1024
PAUSE_WHEN_EXHAUSTED = 0.5
#: Of all connections: somebody else can always connect.
SHARE_OF_A_SITE = 0.8
IDLE_BUFFER = 8 * 1024
BULK_BUFFER = 256 * 1024

# asyncio allocates this much for each TLS connection before the first byte has come. Its own 256 KiB would give 256 MiB
# to a thousand clients that never finish their handshake; they matter for uploads only, see `receive_in_bulk`.
SSLProtocol.max_size = IDLE_BUFFER


class Connections:
    """How many connections there are, and how many there may be: in all, of one client, and of one site.

    :param trusted: whether an address is that of a proxy, which connects for many clients.
    """

    def __init__(self, total: int, by_address: int, trusted: Callable[[str], bool] = lambda address: False) -> None:
        self.limit, self.limit_by_address, self.trusted = total, by_address, trusted
        self._total = 0
        self._by_network: Counter[str] = Counter()

    def add(self, address: str) -> bool:
        """Count a new connection; False when it is one too many."""
        if self._total >= self.limit:
            return False
        host, site = _networks(address)
        if not self.trusted(address) and (
            self._by_network[host] >= self.limit_by_address
            or self._by_network[site] >= max(self.limit_by_address, self.limit * SHARE_OF_A_SITE)
        ):
            return False
        self._total += 1
        self._by_network.update({host, site})
        return True

    def remove(self, address: str) -> None:
        """Count a connection no more."""
        self._total -= 1
        for network in {*_networks(address)}:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]


def _networks(address: str) -> tuple[str, str]:
    """The networks of a client and of its site; an IPv4 address is both."""
    return network_of(address), network_of(address, SITE_BITS)


class _Protocol(web.RequestHandler):
    """aiohttp's protocol with errors in the shape of this API, which tells when the connection is lost."""

    when_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.lost()

    def lost(self) -> None:
        """Tell, once."""
        tell, self.when_lost = self.when_lost, None
        if tell:
            tell()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if status >= 500:
            logger.error("%s %s failed", request.method, request.path, exc_info=exc)
            message = None
        else:
            message = "The request is not valid HTTP"
        response = error_response(ApiError(status, message))
        response.force_close()
        return response


class Listener:
    """One listening socket.

    :param context: returns the TLS context for the next connection; None for plain HTTP.
    """

    def __init__(
        self,
        server: web.Server,
        host: str,
        port: int,
        connections: Connections,
        access_log: type[AbstractAccessLogger],
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._server, self._connections, self._access_log, self._context = server, connections, access_log, context
        self._socket = _listening(host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """`https://127.0.0.1:8443`."""
        host, port = self._socket.getsockname()[:2]
        return f"{'https' if self._context else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Begin to accept."""
        self._accepting = asyncio.create_task(self._accept())

    async def stop(self) -> None:
        """Accept no more; connections that are there go on."""
        if self._accepting:
            self._accepting.cancel()
            await asyncio.wait((self._accepting,))
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._socket)
            except (ConnectionError, InterruptedError):
                continue
            except OSError as error:
                logger.error("A connection cannot be accepted: %s", error)
                await asyncio.sleep(PAUSE_WHEN_EXHAUSTED)
                continue
            address = str(peer[0])
            if not self._connections.add(address):
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            # Accepting does not yield while connections wait: a burst of them would keep all others waiting.
            await asyncio.sleep(0)

    async def _serve(self, connection: socket.socket, address: str) -> None:
        """Hand a connection to the protocol, which counts it off when it is lost."""
        loop = asyncio.get_running_loop()
        protocol = _Protocol(
            self._server, loop=loop, keepalive_timeout=HEADER_TIME, lingering_time=LINGERING_TIME,
            read_bufsize=READ_BUFFER, access_log_class=self._access_log, logger=logger,
        )  # fmt: skip
        protocol.when_lost = lambda: self._connections.remove(address)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = self._context() if self._context else None
            await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_TIME if tls else None, ssl_shutdown_timeout=2.0 if tls else None,
            )  # fmt: skip
        except (OSError, TimeoutError) as error:
            logger.debug("A handshake with %s failed: %s", address, error)
            protocol.lost()


def receive_in_bulk(transport: asyncio.BaseTransport | None) -> None:
    """Let a connection receive an upload in large steps, which halves the work; for authenticated clients only."""
    protocol = getattr(transport, "_ssl_protocol", None)  # not public: without it uploads are slower, no more
    if protocol is not None:
        protocol.max_size = BULK_BUFFER


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False)
    listening.setblocking(False)
    return listening

"""Accepting connections: limited in all and by address before the handshake, with the current certificate."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from aiohttp import web

from jidoteki.core.addresses import SITE_BITS, network_of
from jidoteki.core.http.connection import Connection
from jidoteki.core.http.limits import Limits
from jidoteki.core.http.protocol import HttpProtocol
from jidoteki.core.http.reaper import Reaper
from jidoteki.core.http.tls_connection import TlsConnection

logger = logging.getLogger(__name__)

BACKLOG = 1024
TRIES = 20
ANY_IPV6 = "::"
#: All addresses of the machine.
EVERYWHERE = ("0.0.0.0", ANY_IPV6)  # noqa: S104  # its purpose
PAUSE_WHEN_EXHAUSTED = 0.5
#: Of all connections, so that other sites can always connect.
SHARE_OF_A_SITE = 0.8


class Connections:
    """A counter of connections, limited in all, by client, and by site.

    :param limits: returns the current limits.
    :param trusted: returns whether an address is that of a proxy, which connects for many clients.
    """

    def __init__(self, limits: Callable[[], Limits], trusted: Callable[[str], bool]) -> None:
        self._limits, self._trusted = limits, trusted
        self._total = 0
        self._by_network: Counter[str] = Counter()

    def add(self, address: str) -> bool:
        """Count a new connection; return whether it is within the limits."""
        limits = self._limits()
        if self._total >= limits.connections:
            return False
        host, site = _networks(address)
        of_a_site = max(limits.connections_per_address, limits.connections * SHARE_OF_A_SITE)
        if not self._trusted(address) and (
            self._by_network[host] >= limits.connections_per_address or self._by_network[site] >= of_a_site
        ):
            return False
        self._total += 1
        self._by_network.update({host, site})
        return True

    def remove(self, address: str) -> None:
        """Remove a connection from the count."""
        self._total -= 1
        for network in {*_networks(address)}:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]


def _networks(address: str) -> tuple[str, str]:
    """Return the network of a client and that of its site; an IPv4 address is both."""
    return network_of(address), network_of(address, SITE_BITS)


class Listener:
    """A listening socket.

    :param listening: from `sockets`.
    :param context: returns the TLS context for the next connection; None for plain HTTP.
    """

    def __init__(
        self,
        server: web.Server,
        listening: socket.socket,
        connections: Connections,
        reaper: Reaper,
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._server, self._connections, self._reaper, self._context = server, connections, reaper, context
        self.socket = listening
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The URL of the service, such as `https://127.0.0.1:8443`."""
        host, port = self.socket.getsockname()[:2]
        return f"{'https' if self._context else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Start accepting connections."""
        self._accepting = asyncio.create_task(self._accept())

    async def stop(self) -> None:
        """Stop accepting connections; those that were accepted are connected to their protocol, and kept."""
        if self._accepting:
            self._accepting.cancel()
            await asyncio.wait((self._accepting, *self._tasks))
        self.socket.close()

    async def _accept(self) -> None:
        while True:
            await self._acceptable()
            try:
                accepted, peer = self.socket.accept()
            except (BlockingIOError, ConnectionError, InterruptedError):
                continue
            except OSError as error:
                logger.error("A connection cannot be accepted: %s", error)
                await asyncio.sleep(PAUSE_WHEN_EXHAUSTED)
                continue
            address = str(peer[0])
            if not self._connections.add(address):
                accepted.close()
                continue
            task = asyncio.create_task(self._serve(accepted, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _acceptable(self) -> None:
        """Wait for a connection without accepting it: whoever is cancelled with `loop.sock_accept` may lose one."""
        loop = asyncio.get_running_loop()
        queued = asyncio.Event()
        loop.add_reader(self.socket, queued.set)
        try:
            await queued.wait()
        finally:
            loop.remove_reader(self.socket)

    async def _serve(self, accepted: socket.socket, address: str) -> None:
        """Connect a socket to its protocol, which removes it from the count when the connection is lost."""
        lost = partial(self._connections.remove, address)
        connection = self._connection(lost)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:
            logger.debug("A connection of %s cannot be served: %s", address, error)
            accepted.close()
            lost()

    def _connection(self, lost: Callable[[], None]) -> Connection:
        reaper = self._reaper
        protocol = HttpProtocol(self._server, reaper.budget)
        if self._context is None:
            return Connection(protocol, reaper, reaper.budget, lost)
        return TlsConnection(protocol, reaper, reaper.budget, lost, self._context, reaper.handshakes)


def sockets(hosts: Sequence[str], port: int | None, handed: Sequence[socket.socket] = ()) -> list[socket.socket]:
    """Listen on one port of several addresses; `::` stands for all addresses of both IPv6 and IPv4.

    Each family has a socket of its own, because IPv4 addresses mapped to IPv6 would look different in every log. A
    socket for all addresses of a family serves the single ones, too. Addresses that fail are logged, as long as one
    works.

    :param port: 0 for a free one, the same for all addresses; None for none but the handed ones.
    :param handed: sockets that listen already, which come first; what they serve is not opened again.
    :raises OSError: no address can be listened on.
    """
    if port is None:
        return list(handed)
    opened, failed = _open_all(_unserved(hosts, port, handed), port)
    if failed and not opened and not handed:
        raise next(iter(failed.values()))
    for host, error in failed.items():
        absent = host == ANY_IPV6 and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
        logger.log(logging.INFO if absent else logging.ERROR, "Not listening on %s: %s", host, error.strerror)
    return [*handed, *sorted(opened, key=lambda each: each.getsockname()[0] != hosts[0])]


def more_sockets(hosts: Sequence[str], port: int, there: Sequence[socket.socket]) -> list[socket.socket]:
    """Listen on those of several addresses that could not be listened on before, as far as that is possible now.

    :param there: sockets that listen already.
    """
    return _open(_unserved(hosts, port, there), port)[0]


def _unserved(hosts: Sequence[str], port: int, there: Sequence[socket.socket]) -> list[str]:
    """Return the addresses that no socket serves, those for all addresses of a family first."""
    wanted = list(dict.fromkeys(each for host in hosts for each in (EVERYWHERE if host == ANY_IPV6 else (host,))))
    wanted = [each for each in wanted if not any(_serves(listening, each, port) for listening in there)]
    return sorted(wanted, key=lambda each: (each not in EVERYWHERE, each != hosts[0]))


def _serves(listening: socket.socket, host: str, port: int) -> bool:
    """Return whether a socket serves an address."""
    address, its_port = listening.getsockname()[:2]
    if its_port != port:
        return False
    both = address == ANY_IPV6 and not listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return both or (_family(host) == listening.family and address in (host, *EVERYWHERE))


def _open_all(hosts: Sequence[str], port: int) -> tuple[list[socket.socket], dict[str, OSError]]:
    """Open a socket for each address; those of a free port are tried until it is free at all of them."""
    for tries_left in range(TRIES, -1, -1):
        opened, failed = _open(hosts, port)
        taken = any(each.errno == errno.EADDRINUSE for each in failed.values())
        if port or not opened or not taken or not tries_left:
            break
        for each in opened:  # the port is free only at the first address
            each.close()
    return opened, failed


def _open(hosts: Sequence[str], port: int) -> tuple[list[socket.socket], dict[str, OSError]]:
    opened: list[socket.socket] = []
    failed: dict[str, OSError] = {}
    for host in hosts:
        if _family(host) in {each.family for each in opened if each.getsockname()[0] in EVERYWHERE}:
            continue
        try:
            opened.append(_listening(host, port))
            port = port or opened[0].getsockname()[1]
        except OSError as error:
            failed[host] = error
    return opened, failed


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listening(host: str, port: int) -> socket.socket:
    listening = socket.create_server((host, port), family=_family(host), backlog=BACKLOG, reuse_port=False)
    listening.setblocking(False)
    return listening

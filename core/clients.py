"""Who a connection or a request comes from: its address, that behind a trusted proxy, and the network it belongs to."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from jidoteki.hookspecs import ApiError

if TYPE_CHECKING:
    from aiohttp import web

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: An IPv6 client picks its addresses from a /64, and a home or an office often has a /56 of them.
HOST_BITS = 64
SITE_BITS = 56


def parse(text: str) -> Address | None:
    """Return the address in a text, an IPv4 address that is mapped to IPv6 as IPv4; None where it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(1024)
def network_of(address: str, bits: int = HOST_BITS) -> str:
    """Return what counts as one client: an IPv4 address, or the IPv6 network of this many bits around an address."""
    parsed = parse(address)
    if parsed is None or parsed.version == 4:
        return address if parsed is None else str(parsed)
    return str(ipaddress.ip_network((parsed, bits), strict=False))


class Proxies:
    """The reverse proxies in front of the service, whose word about a client's address counts.

    :param networks: addresses and networks of trusted proxies.
    :param header: where they say it: `X-Forwarded-For`, or `Forwarded` (RFC 7239). The other one is not looked at, for
        a proxy that writes one may hand on what a client put into the other.
    :param limit: requests at once of one client behind them.
    """

    def __init__(self, networks: Sequence[str], header: str, limit: int) -> None:
        self._networks = tuple(ipaddress.ip_network(each, strict=False) for each in networks)
        self._header = header
        self._limit = limit
        self._busy: Counter[str] = Counter()

    def trusted(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        if not self._networks:
            return False
        parsed = parse(address)
        return parsed is not None and any(parsed in each for each in self._networks)

    def client_of(self, request: web.BaseRequest) -> str:
        """Return the address that a request comes from: the last one on its way that is no trusted proxy."""
        client = request.remote or "-"
        if not self.trusted(client):
            return client
        for said in reversed(list(_hops(request.headers.getall(self._header, ()), self._header))):
            address = parse(said)
            if address is None:
                return client
            client = str(address)
            if not self.trusted(client):
                return client
        return client

    @contextmanager
    def turn(self, request: web.BaseRequest, client: str) -> Iterator[None]:
        """Count a request that came through a trusted proxy among those of its client.

        :raises ApiError: 429, that has too many at once.
        """
        if not self._networks or not self.trusted(request.remote or "-"):
            yield
            return
        network = network_of(client)
        if self._busy[network] >= self._limit:
            raise ApiError(429, "Too many requests at once from this address")
        self._busy[network] += 1
        try:
            yield
        finally:
            self._busy[network] -= 1
            if not self._busy[network]:
                del self._busy[network]


def _hops(lines: Sequence[str], header: str) -> Iterator[str]:
    """The addresses in all lines of the header, those nearer to this service last."""
    for line in lines:
        for element in line.split(","):
            yield _address(element.strip() if header != "Forwarded" else _for(element))


def _for(element: str) -> str:
    """What `for=` says in one element of `Forwarded`."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def _address(text: str) -> str:
    """Without the port and the brackets that some proxies write."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text

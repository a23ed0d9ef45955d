"""Who a connection or a request comes from: its address, that behind a trusted proxy, and the network it belongs to."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from jidoteki.core.addresses import network_of, parse
from jidoteki.hookspecs import ApiError

if TYPE_CHECKING:
    from aiohttp import web

_UNCOUNTED = nullcontext()

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(
    rf'[ \t]*(?:(?P<name>{_WORD})=(?:(?P<token>{_WORD})|"(?P<quoted>(?:[^"\\]|\\.)*)"))?[ \t]*(?P<end>[;,]|$)'
)


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
        parsed = parse(address)
        return parsed is not None and any(parsed in each for each in self._networks)

    def client_of(self, request: web.BaseRequest) -> str:
        """Return the address that a request comes from: the last one on its way that is no trusted proxy."""
        client = request.remote or "-"
        if not self._networks or not self.trusted(client):
            return client
        for said in reversed(_hops(request.headers.getall(self._header, ()), self._header)):
            address = parse(said)
            if address is None:
                return client
            client = str(address)
            if not self.trusted(client):
                return client
        return client

    def turn(self, request: web.BaseRequest, client: str) -> AbstractContextManager[None]:
        """Count a request that came through a trusted proxy among those of its client.

        :raises ApiError: 429, that has too many at once.
        """
        if not self._networks or not self.trusted(request.remote or "-"):
            return _UNCOUNTED
        return self._turn(client)

    @contextmanager
    def _turn(self, client: str) -> Iterator[None]:
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


def _hops(lines: Sequence[str], header: str) -> list[str]:
    """The addresses in all lines of the header, those nearer to this service last."""
    if header == "Forwarded":
        return [_address(each) for each in _forwarded(", ".join(lines))]
    return [_address(each.strip()) for line in lines for each in line.split(",")]


def _forwarded(text: str) -> list[str]:
    """What `for=` says in each element of `Forwarded`, quoted strings read as such (RFC 7239, section 4).

    One empty element where any of it does not follow that form: a client may have written the beginning, to make
    something else of what the proxy put behind it.
    """
    found: list[str] = [""]
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            return [""]
        position = match.end()
        if (match["name"] or "").lower() == "for":
            if found[-1]:
                return [""]
            found[-1] = match["token"] or re.sub(r"\\(.)", r"\1", match["quoted"])
        if match["end"] == ",":
            found.append("")
    return found


def _address(text: str) -> str:
    """Without the port and the brackets that some proxies write."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text

"""The origin of a connection or a request: the client's address, behind a trusted proxy too, and its network."""

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
    """The trusted reverse proxies in front of the service.

    :param networks: their addresses and networks.
    :param header: the header in which they name the client: `X-Forwarded-For`, or `Forwarded` (RFC 7239). The other one
        is ignored, as a proxy may pass it on unchanged from a client.
    :param limit: maximum number of concurrent requests of one client behind them.
    """

    def __init__(self, networks: Sequence[str], header: str, limit: int) -> None:
        self._networks = tuple(ipaddress.ip_network(each, strict=False) for each in networks)
        self._header = header
        self._limit = limit
        self._busy: Counter[str] = Counter()

    def trusted(self, address: str) -> bool:
        """Return whether an address is that of a trusted proxy."""
        parsed = parse(address)
        return parsed is not None and any(parsed in each for each in self._networks)

    def client_of(self, request: web.BaseRequest) -> str:
        """Return the address that a request comes from: the last one on its way that is not a trusted proxy."""
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
        """Count a request from behind a trusted proxy while it is handled.

        :raises ApiError: 429, its client has too many.
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
    """Return the addresses in all lines of the header, the nearest to this service last."""
    if header == "Forwarded":
        return [_address(each) for each in _forwarded(", ".join(lines))]
    return [_address(each.strip()) for line in lines for each in line.split(",")]


def _forwarded(text: str) -> list[str]:
    """Return the value of `for=` in each element of `Forwarded` (RFC 7239, section 4).

    :return: one empty element if any part is malformed: a client may have written an open quotation mark to change the
        meaning of what the proxy appends.
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
    """Remove the port and the brackets that some proxies write."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text

"""Addresses of the internet: of clients, of the networks that they belong to, and in `Host` headers."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: An IPv6 client picks its addresses from a /64, and a home or an office often has a /56 of them.
HOST_BITS = 64
SITE_BITS = 56

_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")


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


class Authority(NamedTuple):
    """A host in lower case, an IPv6 address without its brackets, and the port where one is named."""

    host: str
    port: int | None


@lru_cache(256)
def parse_authority(text: str) -> Authority | None:
    """Return the authority in a text; None where it is none."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    host, port = match["host"].lower(), match["port"]
    if host.startswith("[") and parse(host[1:-1]) is None:
        return None
    if port is not None and not 0 < int(port) <= 65535:
        return None
    return Authority(host.strip("[]"), None if port is None else int(port))

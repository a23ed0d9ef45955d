"""The authority that a request is for: `Host`, and the names that this appliance has.

RFC 9110, section 7.2; RFC 9112, section 3.2: one `Host`, which is a host with or without a port, or 400.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jidoteki.core import clients
from jidoteki.hookspecs import ApiError, paths

if TYPE_CHECKING:
    from aiohttp import web

_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
MAX_BUNDLE = 1024 * 1024


class Authority(NamedTuple):
    """A host in lower case, an IPv6 address without its brackets, and the port where one is named."""

    host: str
    port: int | None


@lru_cache(256)
def parse(text: str) -> Authority | None:
    """Return the authority in a text; None where it is none."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    host, port = match["host"].lower(), match["port"]
    if host.startswith("[") and clients.parse(host[1:-1]) is None:
        return None
    if port is not None and not 0 < int(port) <= 65535:
        return None
    return Authority(host.strip("[]"), None if port is None else int(port))


def check(request: web.BaseRequest) -> None:
    """Refuse a request whose target or `Host` could be read in more than one way.

    :raises ApiError: 400.
    """
    hosts = request.headers.getall("Host", ())
    if not hosts and request.version == (1, 0):
        return
    if len(hosts) != 1 or parse(hosts[0]) is None:
        raise ApiError(400, "Send one Host header: a host name or address, with or without a port")
    target = request.raw_path
    if "#" in target:
        raise ApiError(400, "The target of a request has no fragment")
    if not target.startswith("/") and request.url.raw_authority.lower() != hosts[0].lower():
        raise ApiError(400, "The target and the Host header name different hosts")


class Names:
    """What this appliance is called.

    :param bundle: the TLS certificate in use, whose DNS names count.
    :param configured: further names, each with or without a port.
    """

    def __init__(self, bundle: Path, configured: Sequence[str]) -> None:
        self._bundle = bundle
        self._configured = frozenset(each for name in configured if (each := parse(name)))
        self._identity: tuple[int, int, int] | None = None
        self._certified: frozenset[str] = frozenset()

    async def refresh(self) -> None:
        """Read the names in the certificate again if it was replaced."""
        try:
            status = os.stat(self._bundle)
            identity = status.st_mtime_ns, status.st_size, status.st_ino
        except OSError:
            return
        if identity != self._identity:
            self._certified = await asyncio.to_thread(_dns_names, self._bundle)
            self._identity = identity

    def include(self, authority: Authority, connection: tuple[Any, ...]) -> bool:
        """Whether an authority is this appliance's.

        :param connection: address and port at which the request arrived.
        """
        if authority in self._configured or authority._replace(port=None) in self._configured:
            return True
        address, port = clients.parse(str(connection[0])), connection[1]
        if (authority.port or 443) != port:
            return False
        named = clients.parse(authority.host)
        if named is not None:
            return named == address
        if authority.host == "localhost":
            return address is not None and address.is_loopback
        return authority.host == socket.gethostname().lower() or authority.host in self._certified


def _dns_names(bundle: Path) -> frozenset[str]:
    """The names in a certificate, but for those that stand for many."""
    x509: Any = import_module("cryptography.x509")
    try:
        certificate = x509.load_pem_x509_certificates(paths.read_regular(bundle, MAX_BUNDLE, follow=True))[0]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return frozenset(each.lower() for each in names.get_values_for_type(x509.DNSName) if "*" not in each) - {
            "localhost"
        }
    except (OSError, ValueError, x509.ExtensionNotFound):
        return frozenset()

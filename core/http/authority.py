"""The authority of a request: its `Host`, and the names of this appliance.

RFC 9110, section 7.2; RFC 9112, section 3.2: one `Host`, which is a host with or without a port, or 400.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jidoteki.core.addresses import Authority, parse, parse_authority
from jidoteki.hookspecs import ApiError, paths

if TYPE_CHECKING:
    from aiohttp import web

MAX_BUNDLE = 1024 * 1024


def check(request: web.BaseRequest) -> None:
    """Refuse a request whose target or `Host` is ambiguous.

    :raises ApiError: 400.
    """
    hosts = request.headers.getall("Host", ())
    if not hosts and request.version == (1, 0):
        return
    if len(hosts) != 1 or parse_authority(hosts[0]) is None:
        raise ApiError(400, "Send one Host header: a host name or address, with or without a port")
    target = request.raw_path
    if "#" in target:
        raise ApiError(400, "The target of a request has no fragment")
    if not target.startswith("/") and request.url.raw_authority.lower() != hosts[0].lower():
        raise ApiError(400, "The target and the Host header name different hosts")


class Names:
    """The host names of this appliance.

    :param bundle: the TLS certificate in use, whose DNS names are included.
    :param configured: further names, each with or without a port.
    """

    def __init__(self, bundle: Path, configured: Sequence[str]) -> None:
        self._bundle = bundle
        self._configured = frozenset(each for name in configured if (each := parse_authority(name)))
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
        """Return whether an authority is this appliance's.

        :param connection: address and port at which the request arrived.
        """
        if authority in self._configured or authority._replace(port=None) in self._configured:
            return True
        address, port = parse(str(connection[0])), connection[1]
        if (authority.port or 443) != port:
            return False
        named = parse(authority.host)
        if named is not None:
            return named == address
        if authority.host == "localhost":
            return address is not None and address.is_loopback
        return authority.host == socket.gethostname().lower() or authority.host in self._certified


def _dns_names(bundle: Path) -> frozenset[str]:
    """Return the DNS names in a certificate, without wildcards and `localhost`."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificates(paths.read_regular(bundle, MAX_BUNDLE, follow=True))[0]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return frozenset(each.lower() for each in names.get_values_for_type(x509.DNSName) if "*" not in each) - {
            "localhost"
        }
    except Exception:  # a library may raise anything for certificates that OpenSSL accepts
        return frozenset()

"""TLS handshakes of OpenSSL with itself, in memory: whether a server can be connected to at all."""

from __future__ import annotations

import ssl
from typing import Final

VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
_MOST_STEPS: Final = 10


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Make a handshake between two contexts.

    :raises ssl.SSLError: one of the two sides refuses it.
    """
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    for _ in range(_MOST_STEPS):
        for side in list(left):
            try:
                side.do_handshake()
                left.remove(side)
            except ssl.SSLWantReadError:
                pass
        if not left:
            return
    raise ssl.SSLError("the handshake does not end")


def check(server: ssl.SSLContext) -> None:
    """Check that clients can connect to a server, with one version of TLS at least; whether they trust it is theirs.

    :raises ssl.SSLError: none can.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    try:
        shake_hands(server, client)
    except ssl.SSLError:
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        shake_hands(server, client)

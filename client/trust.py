"""Which certificates a client trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from jidoteki.client.errors import ClientError


def trust(cafile: Path | str | None) -> ssl.SSLContext:
    """Return what verifies an appliance.

    :param cafile: a PEM file of certificates; None for those of the system.
    :raises ClientError: the file holds none.
    """
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:
        raise ClientError(f"{cafile} holds no certificates to trust: {error.strerror or error}") from error
    # Python 3.13 refuses self-signed certificates that lack key identifiers, which curl and browsers take.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context

"""What a certificate form may hold: three PEM files, judged by the job."""

from __future__ import annotations

from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Document

MAX_SIZE: Final = 1024 * 1024


def pem_text(content: bytes) -> str:
    """Return the bytes of a file as characters of the same numbers, so that none is lost on the way to the job.

    :raises voluptuous.Invalid: there is nothing in it.
    """
    if not content.strip():
        raise vol.Invalid("must not be empty: send a PEM file")
    return content.decode("latin-1")


PARAMETERS: Final[dict[Any, Any]] = {
    vol.Required("public", description="The certificate and its intermediates, PEM"): Document(pem_text, MAX_SIZE),
    vol.Required("private", description="The private key, PEM, unencrypted"): Document(pem_text, MAX_SIZE),
    vol.Optional("ca", description="Intermediate or root certificates, PEM"): Document(pem_text, MAX_SIZE),
}

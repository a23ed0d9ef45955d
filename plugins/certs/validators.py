"""The parameters of `POST /certs`: three PEM files, which the job checks."""

from __future__ import annotations

from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Document, Label

MAX_SIZE: Final = 1024 * 1024


def pem_text(content: bytes) -> str:
    """Return the bytes of a file as a Latin-1 string, which JSON passes to the job unchanged.

    :raises voluptuous.Invalid: it is empty.
    """
    if not content.strip():
        raise vol.Invalid("must not be empty: send a PEM file")
    return content.decode("latin-1")


KEY: Final = Label("Private key", "The private key, PEM, unencrypted", secret=True)

PARAMETERS: Final[dict[Any, Any]] = {
    vol.Required("public", description=Label("Certificate", "The certificate and its intermediates, PEM")): Document(
        pem_text, MAX_SIZE
    ),
    vol.Required("private", description=KEY): Document(pem_text, MAX_SIZE),
    vol.Optional("ca", description=Label("Authorities", "Intermediate or root certificates, PEM")): Document(
        pem_text, MAX_SIZE
    ),
}

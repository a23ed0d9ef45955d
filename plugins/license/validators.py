"""The parameters of `POST /license`: an OpenPGP message, which the job verifies."""

from __future__ import annotations

from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Document

MAX_SIZE: Final = 1024 * 1024


def message_text(content: bytes) -> str:
    """Return the bytes of a file as a Latin-1 string, which JSON passes to the job unchanged.

    :raises voluptuous.Invalid: it is empty.
    """
    if not content.strip():
        raise vol.Invalid("must not be empty: send the license file")
    return content.decode("latin-1")


PARAMETERS: Final[dict[Any, Any]] = {
    vol.Required("license", description="The encrypted license"): Document(message_text, MAX_SIZE)
}

"""The parameters of `POST /license`: an OpenPGP message, which the job verifies."""

from __future__ import annotations

import codecs
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Document, Label

MAX_SIZE: Final = 1024 * 1024


def message_text(content: bytes) -> str:
    """Return the bytes of a file, without a byte order mark, as a Latin-1 string, which JSON passes on unchanged.

    :raises voluptuous.Invalid: it is empty, or UTF-16.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise vol.Invalid("is a text in UTF-16: send the license file as it came, or saved as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise vol.Invalid("must not be empty: send the license file")
    return content.decode("latin-1")


PARAMETERS: Final[dict[Any, Any]] = {
    vol.Required("license", description=Label("License", "The encrypted license")): Document(message_text, MAX_SIZE)
}

"""What a license form may hold: one OpenPGP message, judged by the job."""

from __future__ import annotations

from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Document

MAX_SIZE: Final = 1024 * 1024


def message_text(content: bytes) -> str:
    """Return the bytes of a file as characters of the same numbers, so that none is lost on the way to the job.

    :raises voluptuous.Invalid: there is nothing in it.
    """
    if not content.strip():
        raise vol.Invalid("must not be empty: send the license file")
    return content.decode("latin-1")


PARAMETERS: Final[dict[Any, Any]] = {
    vol.Required("license", description="The encrypted license"): Document(message_text, MAX_SIZE)
}

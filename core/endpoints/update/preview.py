"""The preview of an update package, which a dry run returns."""

from __future__ import annotations

from typing import Any, Final

from jidoteki.hookspecs import differences

MAX_CHANGELOG: Final = 64 * 1024


def preview(
    *, installed: str | None, candidate: str | None, changelog: bytes | None, size: int, key_id: str
) -> dict[str, Any]:
    """Return the preview.

    :param size: bytes of the package.
    :param key_id: of the key that verified its signature.
    """
    return {
        "from-version": installed,
        "to-version": candidate,
        "changelog": None if changelog is None else changelog[:MAX_CHANGELOG].decode("utf-8", "replace"),
        "size": size,
        "key-id": key_id,
        "changes": differences.between(installed, candidate, "version"),
    }

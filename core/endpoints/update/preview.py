"""The preview of an update package, which a dry run returns."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jidoteki.hookspecs import differences

MAX_CHANGELOG: Final = 64 * 1024


def preview(
    *, installed: str | None, candidate: str | None, changelog: bytes | None, size: int, key: rsa.RSAPublicKey
) -> dict[str, Any]:
    """Return the preview.

    :param size: bytes of the package.
    :param key: the key that verified its signature.
    """
    return {
        "from-version": installed,
        "to-version": candidate,
        "changelog": None if changelog is None else changelog[:MAX_CHANGELOG].decode("utf-8", "replace"),
        "size": size,
        "key-id": key_id(key),
        "changes": differences.between(installed, candidate, "version"),
    }


def key_id(key: rsa.RSAPublicKey) -> str:
    """Return the SHA-256 of a public key (SubjectPublicKeyInfo in DER), in hexadecimal digits."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

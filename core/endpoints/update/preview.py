"""What a dry run tells of an update package that would be installed."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_CHANGELOG: Final = 64 * 1024


def preview(
    *, installed: str | None, candidate: str | None, changelog: bytes | None, size: int, key: rsa.RSAPublicKey
) -> dict[str, Any]:
    """Return what is told.

    :param size: bytes of the package.
    :param key: what its signature was verified with.
    """
    return {
        "from-version": installed,
        "to-version": candidate,
        "changelog": None if changelog is None else changelog[:MAX_CHANGELOG].decode("utf-8", "replace"),
        "size": size,
        "key-id": key_id(key),
    }


def key_id(key: rsa.RSAPublicKey) -> str:
    """The SHA-256 of a public key (SubjectPublicKeyInfo in DER), in hexadecimal digits."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

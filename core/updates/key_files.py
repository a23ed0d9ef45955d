"""Key files that were put where another one belongs."""

from __future__ import annotations

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

MIN_BITS = 2048
MAX_SIZE = 64 * 1024
_PRIVATE = re.compile(rb"^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----", re.MULTILINE)


def holds_private_key(content: bytes) -> bool:
    """Whether there is a private key in it, in PEM, of OpenSSH or of OpenPGP, encrypted or not."""
    return _PRIVATE.search(content) is not None


def passphrase_problem(content: bytes) -> str | None:
    """Say why this is no `updates.key`, whose first line is the passphrase of packages; None where it is one."""
    first = content.partition(b"\n")[0]
    if b"-----BEGIN " in content:
        return "it is a key in PEM: its first line, the same in all of them, would be the passphrase"
    if content.startswith(b"\xef\xbb\xbf"):
        return "it begins with a byte order mark, which would be a part of the passphrase"
    if first.endswith(b"\r"):
        return "its first line ends with CR LF, and the CR would be a part of the passphrase"
    if not first.strip():
        return "its first line, which is the passphrase, is empty"
    return None


def signs_for(private: bytes, public: rsa.RSAPublicKey) -> bool:
    """Whether what a private key in PEM signs is verified with this public key; False where that cannot be told."""
    try:
        key = load_pem_private_key(private, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return False
    return isinstance(key, rsa.RSAPrivateKey) and key.public_key().public_numbers() == public.public_numbers()

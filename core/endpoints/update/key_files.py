"""Key files that were put where another one belongs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

MIN_BITS = 2048
MAX_SIZE = 64 * 1024
_PRIVATE = re.compile(rb"^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----", re.MULTILINE)


def holds_private_key(content: bytes) -> bool:
    """Whether there is a private key in it, in PEM, of OpenSSH or of OpenPGP, encrypted or not."""
    return _PRIVATE.search(content) is not None


@dataclass(frozen=True, slots=True)
class WrongPassphrase:
    """Why a file is no `updates.key`, or hardly one."""

    message: str
    fatal: bool
    """Whether it is none at all; otherwise it works where it is the same file on both sides."""


def passphrase_problem(content: bytes) -> WrongPassphrase | None:
    """Say what is wrong with an `updates.key`, whose first line is the passphrase of packages."""
    first = content.partition(b"\n")[0]
    if b"-----BEGIN " in content:
        said = "it is a key in PEM: its first line, the same in all of them, would be the passphrase"
        return WrongPassphrase(said, fatal=True)
    if not first.strip():
        return WrongPassphrase("its first line, which is the passphrase, is empty", fatal=True)
    if content.startswith(b"\xef\xbb\xbf"):
        return WrongPassphrase("it begins with a byte order mark, which is a part of the passphrase", fatal=False)
    if first.endswith(b"\r"):
        return WrongPassphrase("its first line ends with CR LF, and the CR is a part of the passphrase", fatal=False)
    return None


def signs_for(private: bytes, public: rsa.RSAPublicKey) -> bool:
    """Whether what a private key in PEM signs is verified with this public key; False where that cannot be told."""
    try:
        key = load_pem_private_key(private, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return False
    return isinstance(key, rsa.RSAPrivateKey) and key.public_key().public_numbers() == public.public_numbers()

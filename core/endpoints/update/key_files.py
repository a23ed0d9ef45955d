"""Key files that are in the place of another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

MIN_BITS = 2048
MAX_SIZE = 64 * 1024
_PRIVATE = re.compile(rb"^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----", re.MULTILINE)


def holds_private_key(content: bytes) -> bool:
    """Return whether a file contains a private key of PEM, OpenSSH or OpenPGP, encrypted or not."""
    return _PRIVATE.search(content) is not None


@dataclass(frozen=True, slots=True)
class WrongPassphrase:
    """A problem of an `updates.key`."""

    message: str
    fatal: bool
    """Whether it cannot be used at all; otherwise it works if both sides have the same file."""


def passphrase_problem(content: bytes) -> WrongPassphrase | None:
    """Return what is wrong with an `updates.key`, whose first line is the passphrase of packages."""
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


def signs_for(private: bytes, public: Iterable[PublicKeyTypes]) -> bool:
    """Return whether a private key in PEM and one of these public keys are a pair; False if that is unknown."""
    try:
        key = load_pem_private_key(private, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return False
    half = key.public_key()
    return any(half == each for each in public)

"""How a package was encrypted that cannot be decrypted as it should be, so that its vendor is told what to change.

Only the beginning is tried, with the options of `openssl enc` that vendors use: https://docs.openssl.org/3.0/man1/openssl-enc/.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from jidoteki.core.updates.openssl import HEADER, ITERATIONS, MAGIC, bytes_to_key

DIGESTS: Final = ("sha256", "sha512", "sha1", "md5")
COUNTS: Final = (1000, 4096, 20_000, 50_000, 65_536, 100_000, 200_000, 250_000, 310_000, 600_000)
"""For `-iter`, beside the 10,000 of openssl itself; all of them together take about a second."""
_KEYS: Final = 48
_NOT_ENCRYPTED: Final = "It is not a file that was encrypted with a passphrase by openssl enc"
_BASE64: Final = b"U2FsdGVkX1"  # MAGIC


class _Way(NamedTuple):
    """One way to derive key and initialization vector."""

    options: str
    derive: Callable[[bytes, bytes], bytes]


def explained(beginning: bytes, passphrase: bytes) -> str | None:
    """Say in a sentence what is wrong with the beginning of a package; None where no guess fits.

    :param beginning: its first kilobyte or more.
    """
    if beginning.startswith(_BASE64):
        return "It is encoded in base64: leave out -a (-base64) of openssl enc"
    if beginning.startswith(b"\x1f\x8b"):
        return f"{_NOT_ENCRYPTED}, but a gzip file"
    if is_tar(beginning):
        return f"{_NOT_ENCRYPTED}, but a tar archive"
    salt, encrypted = beginning[len(MAGIC) : HEADER], beginning[HEADER : HEADER + tarfile.BLOCKSIZE]
    if not beginning.startswith(MAGIC) or len(encrypted) < tarfile.BLOCKSIZE:
        return None
    for way in _ways():
        derived = way.derive(passphrase, salt)
        for cipher, decryptor in _ciphers(derived):
            if is_tar(decryptor.decryptor().update(encrypted)):
                return f"It was encrypted with {cipher} {way.options} in place of -aes-256-cbc -md sha256 -pbkdf2"
    return None


def is_tar(content: bytes) -> bool:
    """Whether it begins as an archive does."""
    try:
        return bool(tarfile.TarInfo.frombuf(content[: tarfile.BLOCKSIZE], "utf-8", "replace"))
    except (tarfile.TarError, ValueError):
        return False


def _ways() -> Iterator[_Way]:
    for digest in DIGESTS:
        yield _Way(f"-md {digest} without -pbkdf2", partial(bytes_to_key, digest))
    for digest in DIGESTS:
        yield _Way(f"-md {digest} -pbkdf2", partial(_pbkdf2, digest, ITERATIONS))
    for count in COUNTS:
        yield _Way(f"-md sha256 -pbkdf2 -iter {count}", partial(_pbkdf2, "sha256", count))


def _pbkdf2(digest: str, count: int, passphrase: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac(digest, passphrase, salt, count, _KEYS)


def _ciphers(derived: bytes) -> Iterator[tuple[str, Cipher[modes.CBC] | Cipher[modes.CTR]]]:
    """The ciphers, each with its part of what was derived: the key, then the vector."""
    for size in (32, 24, 16):
        key, vector = algorithms.AES(derived[:size]), derived[size : size + 16]
        yield f"-aes-{size * 8}-cbc", Cipher(key, modes.CBC(vector))
        yield f"-aes-{size * 8}-ctr", Cipher(key, modes.CTR(vector))

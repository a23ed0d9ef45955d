"""How a package was encrypted that cannot be decrypted as it should be, so that its vendor is told what to change.

Only the beginning is tried, with the options of `openssl enc` that vendors use: https://docs.openssl.org/3.0/man1/openssl-enc/.
"""

from __future__ import annotations

import hashlib
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from jidoteki.core.archives.openssl import HEADER, ITERATIONS, MAGIC, bytes_to_key
from jidoteki.core.archives.tar import is_tar

DIGESTS: Final = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
COUNTS: Final = (
    1, 1000, 1024, 2048, 4096, 5000, 20_000, 50_000, 65_536,
    100_000, 200_000, 210_000, 250_000, 310_000, 500_000, 600_000,
)  # fmt: skip
"""For `-iter`, beside the 10,000 of openssl itself."""
COUNTED: Final = ("sha256", "sha512")
"""Digests that are tried with all counts."""
MAX_CPU: Final = 2.0
"""Seconds of a processor for all guesses, whatever the machine and the package."""
_KEYS: Final = 48
_NOT_ENCRYPTED: Final = "It is not a file that was encrypted with a passphrase by openssl enc"
_RIGHT: Final = "-aes-256-cbc -md sha256 -pbkdf2"
_GZIP: Final = b"\x1f\x8b\x08"
_BASE64: Final = b"U2FsdGVkX1"  # MAGIC


class _Way(NamedTuple):
    """One way to derive key and initialization vector."""

    options: str
    derive: Callable[[bytes, bytes], bytes]
    rounds: int = 1
    """How often the digest is made, which is what the time goes to."""


def explained(beginning: bytes, passphrase: bytes) -> str | None:
    """Say in a sentence what is wrong with the beginning of a package; None where no guess fits.

    What is cheapest is tried first, and what would take longer than MAX_CPU in sum is not.

    :param beginning: its first kilobyte or more.
    """
    if beginning.startswith(_BASE64):
        return "It is encoded in base64: leave out -a (-base64) of openssl enc"
    if beginning.startswith(_GZIP):
        return f"{_NOT_ENCRYPTED}, but a gzip file"
    if is_tar(beginning):
        return f"{_NOT_ENCRYPTED}, but a tar archive"
    salt, encrypted = beginning[len(MAGIC) : HEADER], beginning[HEADER : HEADER + tarfile.BLOCKSIZE]
    if not beginning.startswith(MAGIC):
        return None
    slowest = 0.0  # seconds for one round, so far
    left = MAX_CPU
    for way in sorted(_ways(), key=lambda each: each.rounds):
        if way.rounds * slowest > left:
            return None
        began = time.thread_time()
        derived = way.derive(passphrase, salt)
        spent = time.thread_time() - began
        if way.rounds >= ITERATIONS:  # what is shorter says too little
            slowest = max(slowest, spent / way.rounds)
        left -= spent
        for name, cipher in _ciphers(derived):
            plain = _decrypted(cipher, encrypted)
            if is_tar(plain):
                return f"It was encrypted with {name} {way.options} in place of {_RIGHT}"
            if f"{name} {way.options}" == _RIGHT and plain.startswith(_GZIP):
                return "What was encrypted is a gzip file, and should be a plain tar archive"
    return None


def _decrypted(cipher: Cipher[Any], encrypted: bytes) -> bytes:
    try:
        return cipher.decryptor().update(encrypted)
    except UnsupportedAlgorithm:  # as of the system's OpenSSL
        return b""


def _ways() -> Iterator[_Way]:
    for digest in DIGESTS:
        yield _Way(f"-md {digest} without -pbkdf2", partial(bytes_to_key, digest))
    for digest in DIGESTS:
        yield _Way(f"-md {digest} -pbkdf2", partial(_pbkdf2, digest, ITERATIONS), ITERATIONS)
    for count in COUNTS:
        for digest in COUNTED:
            yield _Way(f"-md {digest} -pbkdf2 -iter {count}", partial(_pbkdf2, digest, count), count)


def _pbkdf2(digest: str, count: int, passphrase: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac(digest, passphrase, salt, count, _KEYS)


def _ciphers(derived: bytes) -> Iterator[tuple[str, Cipher[Any]]]:
    """The ciphers, each with its part of what was derived: the key, then the vector."""
    for size in (32, 24, 16):
        key, vector = derived[:size], derived[size : size + 16]
        for mode in (modes.CBC(vector), modes.CTR(vector), modes.ECB()):  # noqa: S305  # only to tell that it was used
            yield f"-aes-{size * 8}-{mode.name.lower()}", Cipher(algorithms.AES(key), mode)
        yield f"-camellia-{size * 8}-cbc", Cipher(Camellia(key), modes.CBC(vector))
    yield "-des-ede3-cbc", Cipher(TripleDES(derived[:24]), modes.CBC(derived[24:32]))
    yield "-chacha20", Cipher(algorithms.ChaCha20(derived[:32], derived[32:48]), None)

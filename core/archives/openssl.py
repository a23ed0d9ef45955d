"""The formats of `openssl enc -aes-256-cbc` and `openssl rsautl`, read and written as streams.

Source of the formats: OpenSSL 3.0, `apps/enc.c`, `apps/lib/apps.c` (`-pass file:`) and `EVP_BytesToKey(3)`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from jidoteki.hookspecs import paths

if TYPE_CHECKING:
    from jidoteki.core.archives.streams import Source

MAGIC = b"Salted__"
SALT = 8
HEADER = len(MAGIC) + SALT
ITERATIONS = 10_000
BLOCK = 16
MAX_PASSPHRASE = 1023


class DecryptionError(Exception):
    """Content that cannot be decrypted; the message is the reason."""


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in a file as `-pass file:PATH` reads it: the first line, up to 1023 bytes or a NUL.

    :raises OSError: the file cannot be read.
    :raises ValueError: it is empty.
    """
    with open(paths.open_regular(path, follow=True), "rb") as file:
        line = file.readline(MAX_PASSPHRASE)
    if not line:
        raise ValueError(f"{path.name} is empty: it must hold a passphrase in its first line")
    return line.partition(b"\n")[0].partition(b"\0")[0]


def _modern(passphrase: bytes, salt: bytes) -> bytes:
    """Derive key and IV as with `-md sha256 -pbkdf2`."""
    return hashlib.pbkdf2_hmac("sha256", passphrase, salt, ITERATIONS, 48)


def bytes_to_key(digest: str, passphrase: bytes, salt: bytes) -> bytes:
    """Derive key and IV as with `-md DIGEST` and no `-pbkdf2`: 48 bytes of EVP_BytesToKey with one iteration."""
    last = derived = b""
    while len(derived) < 48:
        last = hashlib.new(digest, last + passphrase + salt, usedforsecurity=False).digest()
        derived += last
    return derived[:48]


def _cipher(derived: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES256(derived[:32]), modes.CBC(derived[32:48]))


class DecryptingReader:
    """A reader of the plain text of an encrypted file.

    :param source: the encrypted file, from its beginning.
    :param legacy: whether its key was derived as with `-md md5` and no `-pbkdf2`.
    :raises DecryptionError: it does not have the header of such a file.
    """

    def __init__(self, source: Source, passphrase: bytes, *, legacy: bool = False) -> None:
        header = source.read(HEADER)
        if header[: len(MAGIC)] != MAGIC or len(header) < HEADER:
            raise DecryptionError("It is not a file that was encrypted with a passphrase by openssl enc")
        salt = header[len(MAGIC) :]
        self._source = source
        derived = bytes_to_key("md5", passphrase, salt) if legacy else _modern(passphrase, salt)
        self._decryptor = _cipher(derived).decryptor()
        self._unpadder = PKCS7(BLOCK * 8).unpadder()
        self._length = 0
        self._ended = False

    def read(self, size: int) -> bytes:
        """Return about `size` bytes, at least one; empty at the end.

        :raises DecryptionError: the file is truncated, damaged, or was encrypted with another passphrase.
        """
        while not self._ended:
            chunk = self._source.read(max(size, BLOCK))
            plain = self._update(chunk) if chunk else self._finish()
            if plain:
                return plain
        return b""

    def _update(self, chunk: bytes) -> bytes:
        self._length += len(chunk)
        return self._unpadder.update(self._decryptor.update(chunk))

    def _finish(self) -> bytes:
        self._ended = True
        if self._length % BLOCK or not self._length:
            raise DecryptionError("It is cut off: the length of what is encrypted is no multiple of 16 bytes")
        try:
            return self._unpadder.update(self._decryptor.finalize()) + self._unpadder.finalize()
        except ValueError as error:
            raise DecryptionError("It was encrypted with another passphrase, or it is cut off or damaged") from error


class EncryptingWriter:
    """A writer of files that `openssl enc -d -aes-256-cbc -md sha256 -pbkdf2` decrypts.

    :param target: the encrypted file; it stays open.
    """

    def __init__(self, target: BinaryIO, passphrase: bytes) -> None:
        salt = os.urandom(SALT)
        self._target = target
        self._encryptor = _cipher(_modern(passphrase, salt)).encryptor()
        self._padder = PKCS7(BLOCK * 8).padder()
        target.write(MAGIC + salt)

    def write(self, chunk: bytes) -> None:
        """Encrypt and write a chunk of any length."""
        self._target.write(self._encryptor.update(self._padder.update(chunk)))

    def close(self) -> None:
        """Write the last block; without it the file cannot be decrypted."""
        self._target.write(self._encryptor.update(self._padder.finalize()) + self._encryptor.finalize())


def load_public_key(pem: bytes) -> rsa.RSAPublicKey:
    """Return an RSA public key.

    :raises ValueError: it is not one in PEM.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("not a public key in PEM") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("a public key of another kind than RSA")
    return key


def seal(public_key_pem: bytes, secret: bytes) -> bytes:
    """Encrypt a secret as `openssl rsautl -encrypt -pubin` does (RSA, PKCS#1 v1.5).

    :raises ValueError: the key is not an RSA public key in PEM, or the secret is too long for it.
    """
    return load_public_key(public_key_pem).encrypt(secret, rsa_padding.PKCS1v15())

"""Opening debug bundles: the vendor's counterpart of `bundles`.

A bundle is a tar archive of `debug.key.enc`, which is a passphrase encrypted with RSA, and of `debug.tar.gz.enc` and
`logs.tar.gz.enc`, which `openssl enc -d -aes-256-cbc -md sha256 -pbkdf2` decrypts with it. A bundle is untrusted input:
everything is limited, and unpacked by `archives`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from jidoteki.core.archives import unpacking
from jidoteki.core.archives.openssl import BLOCK, DecryptingReader, DecryptionError
from jidoteki.core.archives.streams import GunzipError, GunzipReader, ReadAhead
from jidoteki.core.archives.tar import ArchiveError, TarReader, refuse

KEY = "debug.key.enc"
#: The directory for each member.
PARTS = {"debug.tar.gz.enc": "debug", "logs.tar.gz.enc": "logs"}
MAX_KEY = 8 * 1024
MAX_MEMBERS = 200_000
GZIP = b"\x1f\x8b"
FREE_SPACE = 64 * 1024 * 1024
OVERHEAD = 1024 * 1024


class BundleError(Exception):
    """The bundle cannot be opened; the message is a sentence with the reason."""


def open_bundle(bundle: Path, private_key: Path, into: Path, work: Path, max_size: int) -> dict[str, int]:
    """Decrypt a debug bundle and unpack it to `into/debug` and `into/logs`.

    :param private_key: an RSA key in PEM, without a passphrase.
    :param into: an empty directory; it stays empty unless everything was opened.
    :param work: an empty directory on the same file system.
    :param max_size: maximum total bytes of each directory.
    :return: the number of files and directories in each of the two.
    :raises BundleError: it cannot be decrypted, is damaged, or contains a refused member.
    :raises OSError: a file cannot be read or written.
    """
    key = _load_key(private_key)
    try:
        with bundle.open("rb") as file:
            if file.peek(len(GZIP)).startswith(GZIP):
                raise BundleError(
                    f"{bundle.name} is no debug bundle, but a file compressed with gzip, such as GET /logs: try tar xzf"
                )
            _split(TarReader(file), work, bundle.stat().st_size)
        passphrase = _open_key(work / KEY, key)
        if not any(_is_gzip(work / name, passphrase) for name in PARTS):
            raise BundleError(
                f"{private_key} does not open {bundle.name}: it is not the private key whose public half the appliance "
                "has as updates.pub, or the bundle is damaged"
            )
        members = {each: _unpack(work / name, passphrase, work / each, max_size) for name, each in PARTS.items()}
        for each in members:
            (work / each).rename(into / each)
        return members
    except (ArchiveError, GunzipError, DecryptionError) as error:
        raise BundleError(f"{bundle.name} cannot be opened: {error}") from error


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{path} is not a private key in PEM without a passphrase") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BundleError(f"{path} is not an RSA key")
    return key


def _split(reader: TarReader, work: Path, limit: int) -> None:
    """Write the three members to `work`."""
    wanted = {KEY, *PARTS}
    while (info := reader.next()) is not None:
        name = info.name.removeprefix("./")
        if name not in wanted:
            raise refuse(info.name, "does not belong in a debug bundle, or comes twice")
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size > (MAX_KEY if name == KEY else limit):
            raise refuse(info.name, "is not a file of a size that makes sense")
        wanted.remove(name)
        with (work / name).open("xb") as file:
            _copy(reader.data(), file)
    if wanted:
        raise ArchiveError(f"There is no {min(wanted)} in it")


def _copy(chunks: Iterator[memoryview], file: BinaryIO) -> None:
    for chunk in chunks:
        file.write(chunk)


def _open_key(sealed: Path, key: rsa.RSAPrivateKey) -> bytes:
    """Decrypt the passphrase; a wrong key returns random or no bytes."""
    try:
        secret = key.decrypt(sealed.read_bytes(), PKCS1v15())
    except ValueError:
        return b""
    return secret.partition(b"\n")[0].partition(b"\0")[0]


def _is_gzip(sealed: Path, passphrase: bytes) -> bool:
    """Return whether a passphrase decrypts a part: only the right one results in gzip data."""
    with sealed.open("rb") as file:
        return DecryptingReader(file, passphrase).read(4 * BLOCK).startswith(GZIP)


def _unpack(sealed: Path, passphrase: bytes, into: Path, max_size: int) -> int:
    into.mkdir(mode=0o700)
    policy = unpacking.Policy(max_size, MAX_MEMBERS, FREE_SPACE)
    limit = max_size + MAX_MEMBERS * tarfile.BLOCKSIZE + OVERHEAD
    with sealed.open("rb") as file:
        plain = GunzipReader(DecryptingReader(file, passphrase), limit)
        with ReadAhead(plain) as source:
            return unpacking.unpack(source, into, policy).members

"""Update packages: decrypting them in one pass, verifying their signature, and only then unpacking what they hold.

A package is `openssl enc` of a tar archive of two files: `software_package.tar.gz`, and with `.sign` its signature.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from jidoteki.core.archives import unpacking
from jidoteki.core.archives.openssl import HEADER, DecryptingReader, DecryptionError, load_public_key, read_passphrase
from jidoteki.core.archives.streams import GunzipError, GunzipReader, ReadAhead, Source
from jidoteki.core.archives.tar import ArchiveError, TarReader, is_tar, refuse
from jidoteki.hookspecs import paths
from jidoteki.hookspecs.restorable import can_restore

ARCHIVE = "software_package.tar.gz"
SIGNATURE = "software_package.tar.gz.sign"
MAX_SIGNATURE = 8 * 1024
MAX_KEY = 64 * 1024
#: What tells how a package was encrypted: its header, and that of the archive in it.
BEGINNING = HEADER + 2 * tarfile.BLOCKSIZE
#: The two members need hardly any: nothing has been verified yet when these headers are read.
MAX_HEADER = 8 * 1024
#: Headers and padding of an archive, beside the files that its limit is about.
OVERHEAD = 1024 * 1024
#: Where a header holds name, link, owner, group, and prefix with what is behind it.
_TEXTS = ((0, 100), (157, 257), (265, 297), (297, 329), (345, 512))

T = TypeVar("T")


class PackageError(Exception):
    """The package is refused; the message is a sentence that says why."""


class Keys:
    """What opens and verifies packages, each read when it is first needed.

    :raises PackageError: from the properties, if one of them is missing or makes no sense.
    """

    def __init__(self, etc: Path) -> None:
        self._etc = etc

    @cached_property
    def passphrase(self) -> bytes:
        """What `updates.key` says."""
        return _load(self._etc / "updates.key", read_passphrase)

    @cached_property
    def public(self) -> rsa.RSAPublicKey:
        """The key in `updates.pub`."""
        return _load(self._etc / "updates.pub", _read_public_key)


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What was in a package, not verified yet."""

    archive: Path
    digest: bytes
    """SHA-256 of the archive."""
    signature: bytes


def load_keys(etc: Path) -> Keys:
    """Read `updates.key` and `updates.pub` now.

    :raises PackageError: one of them is missing or makes no sense.
    """
    keys = Keys(etc)
    _ = keys.passphrase, keys.public
    return keys


def _load(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except FileNotFoundError as error:
        raise PackageError(f"The appliance has no {path.name}, without which it cannot take updates") from error
    except OSError as error:
        raise PackageError(f"The appliance's {path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PackageError(f"The appliance's {path.name} cannot be used: {error}") from error


def _read_public_key(path: Path) -> rsa.RSAPublicKey:
    return load_public_key(paths.read_trusted(path, MAX_KEY))


def decrypt(
    package: Source,
    keys: Keys,
    into: Path,
    *,
    legacy: bool = False,
    free_space: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
) -> Decrypted:
    """Decrypt a package and write the archive in it, as it is, to the directory `into`.

    :param legacy: whether packages encrypted with `-md md5` are accepted too.
    :param free_space: bytes to leave free where the archive is written.
    :param checkpoint: called for each chunk; what it raises ends this.
    :raises PackageError: it cannot be decrypted, or holds anything else than it should.
    :raises OSError: the disk is full, or the like.
    """
    try:
        plain = _plain(package, keys.passphrase, legacy)
        with ReadAhead(plain) as source:
            return _split(TarReader(source, MAX_HEADER), into / ARCHIVE, free_space, checkpoint)
    except DecryptionError as error:
        raise PackageError(f"The package cannot be decrypted: {_lower(error)}") from error
    except ArchiveError as error:
        raise PackageError(f"The package is damaged or not an update package: {_lower(error)}") from error


class _Again:
    """A file from its beginning, which is not read twice: others may write to it meanwhile."""

    def __init__(self, beginning: bytes, rest: Source) -> None:
        self._beginning, self._rest = beginning, rest

    def read(self, size: int, /) -> bytes:
        chunk, self._beginning = self._beginning[:size], self._beginning[size:]
        return chunk or self._rest.read(size)


def _plain(package: Source, passphrase: bytes, legacy: bool) -> DecryptingReader:
    """Find out how the package was encrypted, by the first header of the archive in it."""
    beginning = b""
    while len(beginning) < BEGINNING and (chunk := package.read(BEGINNING - len(beginning))):
        beginning += chunk
    reason, is_legacy = "It was encrypted with another passphrase, or its beginning is damaged", False
    try:
        if _makes_sense(DecryptingReader(io.BytesIO(beginning), passphrase)):
            return DecryptingReader(_Again(beginning, package), passphrase)
        is_legacy = _makes_sense(DecryptingReader(io.BytesIO(beginning), passphrase, legacy=True))
    except DecryptionError as error:
        reason = str(error)
    if not is_legacy:
        # Imported late: it brings many ciphers, and few packages are wrong.
        from jidoteki.core.endpoints.update import encryption_guesses

        raise DecryptionError(encryption_guesses.explained(beginning, passphrase) or reason)
    if not legacy:
        raise DecryptionError("It was encrypted with -md md5, which is too weak unless 'legacy-packages' allows it")
    return DecryptingReader(_Again(beginning, package), passphrase, legacy=True)


def _makes_sense(plain: DecryptingReader) -> bool:
    start = plain.read(tarfile.BLOCKSIZE * 2)[: tarfile.BLOCKSIZE]
    return not start.strip(b"\0") or is_tar(start)


def _split(reader: TarReader, archive: Path, free_space: int, checkpoint: Callable[[], None]) -> Decrypted:
    """Take the two members apart, which come in either order."""
    digest = signature = None
    while (info := reader.next()) is not None:
        name = info.name.removeprefix("./")
        if name not in (ARCHIVE, SIGNATURE):
            raise refuse(info.name, _stranger(name))
        reason = can_restore(info.name, info, None) or _leftovers(info, reader.header)
        if reason or info.isdir() or info.issym():
            raise refuse(info.name, reason or "is not a file")
        if (digest if name == ARCHIVE else signature) is not None:
            raise refuse(info.name, "comes twice")
        if name == SIGNATURE:
            signature = _read_signature(info, reader)
        else:
            digest = _store(info, reader.data(), archive, free_space, checkpoint)
    if digest is None or signature is None:
        raise ArchiveError(f"There is no {SIGNATURE if digest else ARCHIVE} in it")
    return Decrypted(archive, digest, signature)


def _stranger(name: str) -> str:
    reason = f"is neither {ARCHIVE} nor {SIGNATURE}"
    if name.startswith("._"):
        return f"{reason}: the tar of macOS adds such files unless COPYFILE_DISABLE=1 is in its environment"
    return reason


def _leftovers(info: tarfile.TarInfo, header: bytes) -> str | None:
    """What nobody reads must be empty: the checksum of a header lets one change in some thousands pass."""
    texts = [header[start:end].partition(b"\0")[2] for start, end in _TEXTS]
    if b"".join(texts).strip(b"\0") or info.linkname or not (info.uname + info.gname).isprintable():
        return "has a damaged header"
    return None


def _read_signature(info: tarfile.TarInfo, reader: TarReader) -> bytes:
    if info.size > MAX_SIGNATURE:
        raise refuse(info.name, f"is longer than {MAX_SIGNATURE} bytes")
    return b"".join(reader.data())


def _store(
    info: tarfile.TarInfo, data: Iterator[memoryview], path: Path, free_space: int, checkpoint: Callable[[], None]
) -> bytes:
    status = os.statvfs(path.parent)
    free = status.f_bavail * status.f_frsize
    if free < info.size + free_space:
        raise ArchiveError(
            f"Its {info.size} bytes would leave less than {free_space} bytes of disk free: {free} are free"
        )
    digest = hashlib.sha256()
    with path.open("xb", buffering=0) as file:
        for chunk in data:
            checkpoint()
            digest.update(chunk)
            while chunk:
                chunk = chunk[file.write(chunk) :]
    return digest.digest()


def verify(decrypted: Decrypted, keys: Keys) -> None:
    """Check the signature (RSA, PKCS#1 v1.5, SHA-256) over the archive.

    :raises PackageError: it was not made with the private half of `updates.pub`, or not for this archive.
    """
    try:
        keys.public.verify(decrypted.signature, decrypted.digest, PKCS1v15(), Prehashed(SHA256()))
    except InvalidSignature as error:
        raise PackageError("The package's signature is not valid: it was changed or signed with another key") from error


def unpack(archive: Path, into: Path, policy: unpacking.Policy) -> unpacking.Summary:
    """Unpack a verified archive into the empty directory `into`.

    :raises PackageError: the archive is damaged, or holds something that is refused; `into` is then incomplete.
    :raises OSError: the disk is full, or the like.
    """
    limit = policy.max_size + policy.max_members * tarfile.BLOCKSIZE + OVERHEAD
    try:
        with archive.open("rb", buffering=0) as compressed, ReadAhead(GunzipReader(compressed, limit)) as source:
            return unpacking.unpack(source, into, policy)
    except (GunzipError, ArchiveError) as error:
        raise PackageError(f"The package cannot be unpacked: {_lower(error)}") from error


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]

"""Update packages: decrypting in one pass, verifying the signature, and only then unpacking.

A package is `openssl enc` of a tar archive of two files: `software_package.tar.gz`, and with `.sign` its signature.
There may be more signatures, of other keys: `.sign-2` to `.sign-8`. One that is valid is enough.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from jidoteki.core.archives import unpacking
from jidoteki.core.archives.openssl import HEADER, DecryptingReader, DecryptionError, read_passphrase
from jidoteki.core.archives.streams import GunzipError, GunzipReader, ReadAhead, Source
from jidoteki.core.archives.tar import ArchiveError, NoRoomError, TarReader, is_tar, refuse
from jidoteki.core.endpoints.update import verifying_keys
from jidoteki.core.endpoints.update.verifying_keys import VerifyingKey, VerifyingKeys
from jidoteki.hookspecs.restorable import can_restore

ARCHIVE = "software_package.tar.gz"
SIGNATURE = "software_package.tar.gz.sign"
#: The names of all signatures that a package may carry.
SIGNATURES = (SIGNATURE, *(f"{SIGNATURE}-{number}" for number in range(2, 9)))
MAX_SIGNATURE = 8 * 1024
#: The bytes that identify the encryption: the header, and that of the archive in it.
BEGINNING = HEADER + 2 * tarfile.BLOCKSIZE
#: Small, as the headers of the two members are read before the signature is verified.
MAX_HEADER = 8 * 1024
#: Headers and padding of an archive, which do not count towards the limit of its files.
OVERHEAD = 1024 * 1024
#: The text fields of a header: name, link, owner, group, and prefix with the padding after it.
_TEXTS = ((0, 100), (157, 257), (265, 297), (297, 329), (345, 512))

T = TypeVar("T")


class PackageError(Exception):
    """The package is refused; the message is a sentence with the reason."""


class NoRoomForPackageError(PackageError):
    """There is too little free disk for the package, of which nothing is wrong otherwise."""


class Keys:
    """The keys that decrypt and verify packages, each read on first use.

    :raises PackageError: from the properties, if one of them is missing or invalid.
    """

    def __init__(self, etc: Path) -> None:
        self._etc = etc

    @cached_property
    def passphrase(self) -> bytes:
        """The passphrase in `updates.key`."""
        return _load(self._etc / "updates.key", read_passphrase)

    @cached_property
    def public(self) -> VerifyingKeys:
        """The keys in `updates.pub` and `updates.pub.d`, at least one of which counts."""
        found = _load(self._etc / verifying_keys.REVOKED, lambda path: verifying_keys.load(path.parent))
        if not found.valid:
            for name, problem in found.problems.items():
                raise _unusable(name, problem) from problem
            raise PackageError(f"The appliance has no key that verifies updates: {verifying_keys.REVOKED} lists all")
        return found


@dataclass(frozen=True, slots=True)
class Decrypted:
    """The content of a package, not verified yet."""

    archive: Path
    digest: bytes
    """SHA-256 of the archive."""
    signatures: tuple[bytes, ...]


def load_keys(etc: Path) -> Keys:
    """Read `updates.key` and `updates.pub` now.

    :raises PackageError: one of them is missing or invalid.
    """
    keys = Keys(etc)
    _ = keys.passphrase, keys.public
    return keys


def _load(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise _unusable(path.name, error) from error


def _unusable(name: str, error: OSError | ValueError) -> PackageError:
    if isinstance(error, FileNotFoundError):
        return PackageError(f"The appliance has no {name}, without which it cannot take updates")
    if isinstance(error, OSError):
        return PackageError(f"The appliance's {name} cannot be read: {error.strerror}")
    return PackageError(f"The appliance's {name} cannot be used: {error}")


def decrypt(
    package: Source,
    keys: Keys,
    into: Path,
    *,
    legacy: bool = False,
    free_space: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
) -> Decrypted:
    """Decrypt a package and write the unchanged archive in it to the directory `into`.

    :param legacy: whether to accept packages encrypted with `-md md5`, too.
    :param free_space: bytes that must stay free on the target's file system.
    :param checkpoint: called for each chunk; an exception that it raises ends the decryption.
    :raises PackageError: it cannot be decrypted, or contains unexpected members.
    :raises OSError: the disk is full, or the like.
    """
    try:
        plain = _plain(package, keys.passphrase, legacy)
        with ReadAhead(plain) as source:
            return _split(TarReader(source, MAX_HEADER), into / ARCHIVE, free_space, checkpoint)
    except DecryptionError as error:
        raise PackageError(f"The package cannot be decrypted: {_lower(error)}") from error
    except NoRoomError as error:
        raise NoRoomForPackageError(str(error)) from error
    except ArchiveError as error:
        raise PackageError(f"The package is damaged or not an update package: {_lower(error)}") from error


class _Again:
    """A stream with its beginning pushed back: the file must not be read twice, as it may be modified."""

    def __init__(self, beginning: bytes, rest: Source) -> None:
        self._beginning, self._rest = beginning, rest

    def read(self, size: int, /) -> bytes:
        chunk, self._beginning = self._beginning[:size], self._beginning[size:]
        return chunk or self._rest.read(size)


def _plain(package: Source, passphrase: bytes, legacy: bool) -> DecryptingReader:
    """Detect the encryption by the first header of the archive in the package."""
    beginning = b""
    while len(beginning) < BEGINNING and (chunk := package.read(BEGINNING - len(beginning))):
        beginning += chunk
    reason, is_legacy = "It was encrypted with another passphrase, or its beginning is damaged", False
    try:
        if _is_decrypted(DecryptingReader(io.BytesIO(beginning), passphrase)):
            return DecryptingReader(_Again(beginning, package), passphrase)
        is_legacy = _is_decrypted(DecryptingReader(io.BytesIO(beginning), passphrase, legacy=True))
    except DecryptionError as error:
        reason = str(error)
    if not is_legacy:
        # Imported late: it loads many ciphers, and few packages are wrong.
        from jidoteki.core.endpoints.update import encryption_guesses

        raise DecryptionError(encryption_guesses.explained(beginning, passphrase) or reason)
    if not legacy:
        raise DecryptionError("It was encrypted with -md md5, which is too weak unless 'legacy-packages' allows it")
    return DecryptingReader(_Again(beginning, package), passphrase, legacy=True)


def _is_decrypted(plain: DecryptingReader) -> bool:
    start = plain.read(tarfile.BLOCKSIZE * 2)[: tarfile.BLOCKSIZE]
    return not start.strip(b"\0") or is_tar(start)


def _split(reader: TarReader, archive: Path, free_space: int, checkpoint: Callable[[], None]) -> Decrypted:
    """Separate the members, which come in any order."""
    digest: bytes | None = None
    signatures: dict[str, bytes] = {}
    while (info := reader.next()) is not None:
        name = info.name.removeprefix("./")
        if name not in (ARCHIVE, *SIGNATURES):
            raise refuse(info.name, _unexpected(name))
        reason = can_restore(info.name, info, None) or _has_damage(info, reader.header)
        if reason or info.isdir() or info.issym():
            raise refuse(info.name, reason or "is not a file")
        if name in signatures or (name == ARCHIVE and digest is not None):
            raise refuse(info.name, "comes twice")
        if name == ARCHIVE:
            digest = _store(info, reader.data(), archive, free_space, checkpoint)
        else:
            signatures[name] = _read_signature(info, reader)
    if digest is None or not signatures:
        raise ArchiveError(f"There is no {SIGNATURE if digest else ARCHIVE} in it")
    return Decrypted(archive, digest, tuple(signatures.values()))


def _unexpected(name: str) -> str:
    reason = f"is neither {ARCHIVE} nor {SIGNATURE}"
    if name.startswith("._"):
        return f"{reason}: the tar of macOS adds such files unless COPYFILE_DISABLE=1 is in its environment"
    return reason


def _has_damage(info: tarfile.TarInfo, header: bytes) -> str | None:
    """Check that unused bytes are empty: the checksum of a header misses one change in some thousands."""
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
        needed = f"{info.size} bytes of the package would leave less than {free_space} bytes of disk free"
        raise NoRoomError(f"The {needed}: {free} are free")
    digest = hashlib.sha256()
    with path.open("xb", buffering=0) as file:
        for chunk in data:
            checkpoint()
            digest.update(chunk)
            while chunk:
                chunk = chunk[file.write(chunk) :]
    return digest.digest()


def verify(decrypted: Decrypted, keys: Keys) -> VerifyingKey:
    """Verify the signatures of the archive, and return a key with which one of them was made.

    :raises PackageError: there is none with a key of this appliance that is not revoked, or not for this archive.
    """
    found = keys.public
    if key := _signer(decrypted, found.valid):
        return key
    if key := _signer(decrypted, found.revoked):
        raise PackageError(f"The package's signature was made with a key that is revoked: {key.id}")
    raise PackageError("The package's signature is not valid: it was changed or signed with another key")


def _signer(decrypted: Decrypted, keys: Sequence[VerifyingKey]) -> VerifyingKey | None:
    made = ((key, signature) for key in keys for signature in decrypted.signatures)
    return next((key for key, signature in made if key.verifies(signature, decrypted.digest)), None)


def unpack(archive: Path, into: Path, policy: unpacking.Policy) -> unpacking.Summary:
    """Unpack a verified archive into the empty directory `into`.

    :raises PackageError: the archive is damaged, or contains a refused member; `into` is then incomplete.
    :raises OSError: the disk is full, or the like.
    """
    limit = policy.max_size + policy.max_members * tarfile.BLOCKSIZE + OVERHEAD
    try:
        with archive.open("rb", buffering=0) as compressed, ReadAhead(GunzipReader(compressed, limit)) as source:
            return unpacking.unpack(source, into, policy)
    except NoRoomError as error:
        raise NoRoomForPackageError(str(error)) from error
    except (GunzipError, ArchiveError) as error:
        raise PackageError(f"The package cannot be unpacked: {_lower(error)}") from error


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]

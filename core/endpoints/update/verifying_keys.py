"""The public keys that verify packages: `updates.pub`, those in `updates.pub.d/`, and which of them are revoked."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from jidoteki.core.endpoints.update import key_forms
from jidoteki.hookspecs import paths

FILE: Final = "updates.pub"
DIRECTORY: Final = "updates.pub.d"
REVOKED: Final = "updates.revoked"
MAX_KEY: Final = 64 * 1024
#: Files that are looked at in the directory of keys, and lines of the list of revoked ones.
MAX_KEYS: Final = 100
MAX_REVOKED: Final = 10_000
_MAX_LIST: Final = 1024 * 1024

_BLOCK: Final = re.compile(rb"-----BEGIN (?:PUBLIC|PRIVATE) KEY-----([A-Za-z0-9+/=\s]+)-----END ")
_PSS: Final = bytes.fromhex("06092a864886f70d01010a")
"""The object identifier id-RSASSA-PSS of RFC 8017, in DER."""
_ID: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key that verifies packages.

    :param name: of its file, below `ADMIN/etc`.
    :param id: SHA-256 of the key (SubjectPublicKeyInfo in DER, as openssl writes it), in hexadecimal digits.
    :param only_pss: whether it is an RSA key for signatures of RSA-PSS alone.
    :param ids: those of all forms in which the same key may be listed as revoked.
    """

    name: str
    id: str
    key: rsa.RSAPublicKey | Ed25519PublicKey
    only_pss: bool = False
    ids: frozenset[str] = frozenset()

    @property
    def bits(self) -> int | None:
        """The size of an RSA key; None for one of another kind."""
        return self.key.key_size if isinstance(self.key, rsa.RSAPublicKey) else None

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Return whether a signature of an archive was made with the private half.

        RSA keys sign the archive with SHA-256, by PKCS #1 v1.5 or PSS; Ed25519 keys sign its SHA-256, 32 bytes.
        """
        if isinstance(self.key, Ed25519PublicKey):
            return _is_valid(partial(self.key.verify, signature, digest))
        paddings: list[AsymmetricPadding] = [PSS(MGF1(SHA256()), PSS.AUTO)]
        if not self.only_pss:
            paddings.insert(0, PKCS1v15())
        hashed = Prehashed(SHA256())
        return any(_is_valid(partial(self.key.verify, signature, digest, each, hashed)) for each in paddings)


@dataclass(slots=True)
class VerifyingKeys:
    """What there is of keys.

    :param valid: those that count.
    :param revoked: those that do not, as they are revoked.
    :param problems: by the name of a file, why it holds no key that counts.
    """

    valid: list[VerifyingKey] = field(default_factory=list)
    revoked: list[VerifyingKey] = field(default_factory=list)
    problems: dict[str, OSError | ValueError] = field(default_factory=dict)


def parse(name: str, pem: bytes) -> VerifyingKey:
    """Return the key in a file.

    :param name: of the file.
    :raises ValueError: it is no public key of RSA or Ed25519 in PEM.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("not a public key in PEM") from error
    if not isinstance(key, rsa.RSAPublicKey | Ed25519PublicKey):
        raise ValueError("a public key of another kind than RSA and Ed25519")
    plain = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raw, only_pss = _der(pem) or plain, is_for_pss(pem)
    forms = [key_forms.canonical(raw) if only_pss else plain, plain, raw]
    if isinstance(key, rsa.RSAPublicKey):
        forms.append(key_forms.for_pss(plain))
    ids = [hashlib.sha256(each).hexdigest() for each in forms]
    return VerifyingKey(name, ids[0], key, only_pss, frozenset(ids))


def is_for_pss(pem: bytes) -> bool:
    """Return whether a public or private key in PEM is one of RSA for signatures of RSA-PSS alone."""
    return _PSS in (_der(pem) or b"")[:64]


def load(etc: Path) -> VerifyingKeys:
    """Read all keys that there are.

    :raises OSError: the list of revoked keys cannot be read.
    :raises ValueError: it holds something else.
    """
    revoked, found = read_revoked(etc), VerifyingKeys()
    for name in (FILE, *_beside(etc, found)):
        try:
            key = parse(name, paths.read_trusted(etc / name, MAX_KEY))
        except (OSError, ValueError) as error:
            found.problems[name] = error
        else:
            found.valid.append(key)
    _sort_out(found, revoked)
    if found.valid and isinstance(found.problems.get(FILE), FileNotFoundError):
        del found.problems[FILE]
    return found


def _sort_out(found: VerifyingKeys, revoked: frozenset[str]) -> None:
    """Move the revoked keys to their list, in whatever forms there are files of them."""
    listed = revoked.union(*(key.ids for key in found.valid if key.ids & revoked))
    found.revoked = [key for key in found.valid if key.ids & listed]
    found.valid = [key for key in found.valid if not key.ids & listed]


def _beside(etc: Path, found: VerifyingKeys) -> list[str]:
    """Return the names of the files with further keys; none, and why, where others may put files there."""
    directory = etc / DIRECTORY
    try:
        if not paths.is_private(directory.stat()):
            raise paths.NotTrustedError(directory)
        names = sorted(each.name for each in directory.iterdir() if each.suffix in (".pub", ".pem"))
    except FileNotFoundError:
        return []
    except OSError as error:
        found.problems[DIRECTORY] = error
        return []
    return [f"{DIRECTORY}/{name}" for name in names[:MAX_KEYS]]


def read_revoked(etc: Path) -> frozenset[str]:
    """Return the ids of the keys that are revoked: one in a line, after which anything may stand.

    Empty lines and those that begin with `#` mean nothing.

    :raises OSError: the list cannot be read, or somebody else can have made it.
    :raises ValueError: a line begins with something else than an id.
    """
    try:
        content = paths.read_trusted(etc / REVOKED, _MAX_LIST)
    except FileNotFoundError:
        if os.path.lexists(etc / REVOKED):
            raise ValueError("it is a link that leads nowhere") from None
        return frozenset()
    lines = [line.split() for line in content.decode("utf-8-sig", "replace").splitlines()]
    ids = [words[0].lower().replace(":", "") for words in lines if words and not words[0].startswith("#")]
    wrong = next((each for each in ids if not _ID.fullmatch(each)), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:80]!r} is no id of a key, which has 64 hexadecimal digits")
    if len(ids) > MAX_REVOKED:
        raise ValueError(f"it lists more than {MAX_REVOKED} keys")
    return frozenset(ids)


def _der(pem: bytes) -> bytes | None:
    block = _BLOCK.search(pem)
    try:
        return base64.b64decode(b"".join(block[1].split()), validate=True) if block else None
    except ValueError:
        return None


def _is_valid(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True

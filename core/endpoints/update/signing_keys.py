"""The vendor's private keys that sign packages: the counterpart of `verifying_keys`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from jidoteki.core.endpoints.update import key_files, verifying_keys
from jidoteki.core.endpoints.update.package import SIGNATURES, PackageError


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; an RSA key signs by PSS if it is for that alone, else by PKCS #1 v1.5."""

    key: rsa.RSAPrivateKey | Ed25519PrivateKey
    pss: bool

    def sign(self, digest: bytes) -> bytes:
        """Sign an archive, of which this is the SHA-256."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(digest)
        padding: AsymmetricPadding = PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH) if self.pss else PKCS1v15()
        return self.key.sign(digest, padding, Prehashed(SHA256()))


def load_all(paths: Sequence[Path]) -> list[SigningKey]:
    """Read the keys that sign a package.

    :raises PackageError: one cannot be used, comes twice, or there are too many.
    :raises OSError: one cannot be read.
    """
    if len(paths) > len(SIGNATURES):
        raise PackageError(f"A package carries {len(SIGNATURES)} signatures at most")
    found = [_load(path) for path in paths]
    halves = [each.key.public_key() for each in found]
    for number, path in enumerate(paths):
        if halves[number] in halves[:number]:
            raise PackageError(f"{path.name} is the same key as another one")
    return found


def _load(path: Path) -> SigningKey:
    pem = path.read_bytes()
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PackageError(f"{path.name} is not a private key in PEM without a passphrase") from error
    if not isinstance(key, rsa.RSAPrivateKey | Ed25519PrivateKey):
        raise PackageError(f"{path.name} is neither an RSA key nor one of Ed25519")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < key_files.MIN_BITS:
        raise PackageError(f"{path.name} has {key.key_size} bits: use a key of {key_files.MIN_BITS} at least")
    return SigningKey(key, verifying_keys.is_for_pss(pem))

"""A key, its certificate and its chain: read from PEM and checked before they are installed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from jidoteki.hookspecs import tls_keys
from jidoteki.plugins.certs import chains, pem_texts
from jidoteki.plugins.certs.certificates import (
    extension,
    is_self_signed,
    issuer_name,
    may_sign,
    name,
    names_as_issuer,
    public_key,
)
from jidoteki.plugins.certs.pem_texts import CertificateError

ALLOWED_KEYS: Final = tls_keys.ALLOWED
WEAK_HASHES: Final = (hashes.MD5, hashes.SHA1)
MAX_CERTIFICATES: Final = 16
#: RSAPrivateKey of RFC 8017, A.1.2: `version` is 1 where there are more than two primes.
_MULTI_PRIME: Final = re.compile(rb"0\x82..\x02\x01\x01\x02\x82", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A key, its certificate and the chain of authorities, each of which signed the certificate before it."""

    key: str
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    crossed: tuple[x509.Certificate, ...] = ()
    """Cross-certificates: further certificates of these authorities, signed by others."""
    left_out: tuple[x509.Certificate, ...] = ()
    """Certificates that were sent, but do not belong to the chain."""

    @property
    def self_signed(self) -> bool:
        """Whether the certificate is self-signed."""
        return is_self_signed(self.certificate)

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """All certificates served beside the server's, the chain first."""
        return self.chain + self.crossed

    def pem(self) -> str:
        """Return the key, the certificate and the authorities in PEM, as a TLS server loads them."""
        return self.key + pem((self.certificate, *self.authorities))


def pem(certificates: Sequence[x509.Certificate]) -> str:
    """Return certificates in PEM, one after the other."""
    return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in certificates)


def read(public: str, private: str, ca: str = "") -> Bundle:
    """Read and check the files of a form; each character of a text stands for one byte.

    :raises CertificateError: a file cannot be read, is too weak, or does not match the others.
    """
    bundle = load(public, private, ca)
    check_signatures(bundle)
    return bundle


def load(public: str, private: str, ca: str = "") -> Bundle:
    """Read the key and the certificates, and sort them in the order in which a server sends them.

    :raises CertificateError: a file cannot be read, has a key that is not allowed, or does not belong to the key.
    """
    certificates = _certificates("public", public)
    key_text = pem_texts.key(private)
    key = _load_key(key_text)
    now = datetime.now(UTC)
    leaf = _belonging(key, certificates, now)
    found = chains.sort(leaf, [*certificates, *(_certificates("ca", ca) if ca else [])], now)
    if found.strangers and not found.is_whole and len(found.chain) == 1:  # else they are left out with a warning
        raise _lacks_issuer(found)
    if (length := len(found.chain) + len(found.crossed)) > MAX_CERTIFICATES:
        raise CertificateError(f"The chain has {length} certificates: at most {MAX_CERTIFICATES} are allowed")
    for number, certificate in enumerate((*found.chain, *found.crossed)):
        _check_key_kind(certificate, authority=number > 0)
    return Bundle(key_text, leaf, found.chain[1:], found.crossed, found.strangers)


def check_signatures(bundle: Bundle) -> None:
    """Check the key usage and the signature algorithms of the certificates.

    :raises CertificateError: TLS clients do not accept them.
    """
    for number, certificate in enumerate((bundle.certificate, *bundle.authorities)):
        _check_signature_hash(certificate, authority=number > 0)
    _check_usage(bundle.certificate)
    for number, issuer in enumerate(bundle.authorities, 2):
        _check_issuer(number, issuer)


def _certificates(parameter: str, content: str) -> list[x509.Certificate]:
    blocks = pem_texts.certificates(parameter, content)
    if len(blocks) > MAX_CERTIFICATES:
        raise CertificateError(f"{parameter} holds {len(blocks)} certificates: at most {MAX_CERTIFICATES} are allowed")
    return [_certificate(parameter, number, block) for number, block in enumerate(blocks, 1)]


def _certificate(parameter: str, number: int, block: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block.encode("latin-1"))
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"Certificate {number} in {parameter} is damaged: send the file as your authority made it"
        ) from error


def _load_key(block: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if "ENCRYPTED" in block:
        raise CertificateError(
            "The private key is encrypted: remove its passphrase with 'openssl pkey -in FILE -out NEW'"
        )
    try:
        # RSA keys are validated only when they are no longer than allowed: 16,384 bits would take minutes.
        unchecked = load_pem_private_key(block.encode("latin-1"), None, unsafe_skip_rsa_key_validation=True)
        kind = tls_keys.unsupported(unchecked.public_key())
        key = unchecked if kind else load_pem_private_key(block.encode("latin-1"), None)
    except UnsupportedAlgorithm as error:
        raise CertificateError(f"The private key is of a kind that is not supported: {ALLOWED_KEYS}") from error
    except (ValueError, TypeError) as error:
        if _has_more_primes(block):
            raise CertificateError(
                "The private key is RSA of more than two primes: make one as usual, of two primes"
            ) from error
        raise CertificateError("The private key is damaged: send the file as it was made, in PEM") from error
    if kind is None and isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return key
    raise CertificateError(f"The private key is {kind}: {ALLOWED_KEYS}")


def _check_key_kind(certificate: x509.Certificate, authority: bool) -> None:
    kind = tls_keys.unsupported_key_of(certificate, authority)
    if kind:
        raise CertificateError(f"The key of {name(certificate)} is {kind}: {ALLOWED_KEYS}")


def _has_more_primes(block: str) -> bool:
    try:
        der = base64.b64decode("".join(block.splitlines()[1:-1]))
    except binascii.Error:
        return False
    return bool(_MULTI_PRIME.search(der[:64]))


def _belonging(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, certificates: Sequence[x509.Certificate], now: datetime
) -> x509.Certificate:
    """Return the certificate that a key belongs to."""
    wanted = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fitting = [each for each in certificates if public_key(each) == wanted]
    if not fitting:
        raise CertificateError("The private key does not belong to the certificate in public")
    return chains.best(fitting, now)


def _lacks_issuer(found: chains.Sorted) -> CertificateError:
    """Return the error for certificates that do not form a chain."""
    last, number = found.chain[-1], len(found.chain)
    same = next((each for each in found.strangers if names_as_issuer(last, each)), None)
    other = same or found.strangers[0]
    told = f"Certificate {number + 1} of the chain ({name(other)}) did not sign certificate {number} ({name(last)})"
    if same:
        return CertificateError(
            f"{told}: it has another key than the issuer of the same name, which is missing; add that to ca"
        )
    missing = issuer_name(last)
    return CertificateError(
        f"{told}: its issuer{f', {missing},' if missing else ''} is missing; add that one's certificate to ca"
    )


def _check_usage(certificate: x509.Certificate) -> None:
    """Refuse a certificate that TLS clients do not accept as a server's: RFC 5280, 4.2.1.3 and 4.2.1.12."""
    if certificate.version == x509.Version.v1 and not is_self_signed(certificate):  # a self-signed one is pinned
        raise CertificateError(
            f"Many TLS clients refuse {name(certificate)}: it is of version 1, and only an authority's may be. "
            "Have it signed again with a subjectAltName, which makes it version 3"
        )
    usage = extension(certificate, x509.KeyUsage)
    if usage and not usage.digital_signature:
        raise CertificateError(f"TLS clients refuse {name(certificate)}: its key usage lacks digitalSignature")
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and ExtendedKeyUsageOID.SERVER_AUTH not in purposes:  # "any" is not enough for OpenSSL
        raise CertificateError(f"TLS clients refuse {name(certificate)}: its extended key usage lacks serverAuth")


def _check_signature_hash(certificate: x509.Certificate, authority: bool) -> None:
    try:
        weak = isinstance(certificate.signature_hash_algorithm, WEAK_HASHES)
    except UnsupportedAlgorithm:
        weak = True
    if weak and not (authority and is_self_signed(certificate)):
        raise CertificateError(
            f"The signature of {name(certificate)} is too weak (MD5, SHA-1 or unknown): SHA-256 or better is needed"
        )


def _check_issuer(number: int, issuer: x509.Certificate) -> None:
    if not may_sign(issuer):
        raise CertificateError(
            f"Certificate {number} of the chain ({name(issuer)}) is not the certificate of an authority"
        )

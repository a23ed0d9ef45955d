"""A key, its certificate and the chain above it: read from PEM and judged before anything serves them."""

from __future__ import annotations

import itertools
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from jidoteki.hookspecs import tls_keys

ALLOWED_KEYS: Final = tls_keys.ALLOWED
WEAK_HASHES: Final = (hashes.MD5, hashes.SHA1)
MAX_CERTIFICATES: Final = 16
BYTE_ORDER_MARK: Final = "\xef\xbb\xbf"
BLOCK: Final = r"-----BEGIN {0}-----\n(?:[^-]|-(?!----))*-----END {0}-----"
CERTIFICATE_BLOCK: Final = re.compile(BLOCK.format("CERTIFICATE"))
KEY_BLOCK: Final = re.compile(BLOCK.format("(?:[A-Z0-9]+ )?PRIVATE KEY"))


class Refused(Exception):
    """Why a key or certificate is not accepted, in one sentence."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A key that belongs to a certificate, and the authorities above it, each of which signed the one before."""

    key: str
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def self_signed(self) -> bool:
        """Whether the certificate is its own authority."""
        return is_self_signed(self.certificate)

    def pem(self) -> str:
        """The key, the certificate and the chain, as a TLS server loads them."""
        return self.key + pem((self.certificate, *self.chain))


def pem(certificates: Sequence[x509.Certificate]) -> str:
    """Certificates in PEM, one after the other."""
    return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in certificates)


def read(public: str, private: str, ca: str = "") -> Bundle:
    """Read and judge what a form sent; the texts hold one character for each byte.

    :raises Refused: something cannot be read, is too weak, or does not belong together.
    """
    certificates = _certificates("public", public)
    key_text = _key_block(private)
    key = _load_key(key_text)
    _check_key_belongs(key, certificates)
    chain = _without_duplicates([*certificates, *(_certificates("ca", ca) if ca else [])])
    if len(chain) > MAX_CERTIFICATES:
        raise Refused(f"The chain has {len(chain)} certificates: at most {MAX_CERTIFICATES} are allowed")
    for number, certificate in enumerate(chain):
        _check_key_kind(certificate, authority=number > 0)
        _check_signature_hash(certificate)
    for number, (certificate, issuer) in enumerate(itertools.pairwise(chain), 1):
        _check_issued(number, certificate, issuer)
    return Bundle(key_text, chain[0], tuple(chain[1:]))


def warnings(bundle: Bundle, now: datetime | None = None) -> list[str]:
    """What is worth telling about a bundle that is accepted: certificates that are not valid at this time."""
    now = now or datetime.now(UTC)
    found = []
    for certificate in (bundle.certificate, *bundle.chain):
        if now > certificate.not_valid_after_utc:
            found.append(f"Warning: {name(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
        if now < certificate.not_valid_before_utc:
            found.append(
                f"Warning: {name(certificate)} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
            )
    return found


def check_loads(bundle: Bundle, workspace: Path) -> None:
    """Have the TLS library itself load the bundle, as the service will.

    :param workspace: an empty directory, closed to other users.
    :raises Refused: it cannot.
    """
    path = workspace / "bundle.pem"
    path.touch(mode=0o600)
    try:
        path.write_text(bundle.pem(), encoding="ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password="")
    except ssl.SSLError as error:
        raise Refused(f"OpenSSL cannot serve this key and certificate: {error.reason or error}") from error
    finally:
        path.unlink()


def name(certificate: x509.Certificate) -> str:
    """The subject of a certificate, fit for a log line."""
    try:
        subject = certificate.subject.rfc4514_string() or "without a subject"
    except ValueError:
        subject = "with an unreadable subject"
    return f"the certificate {''.join(c if c.isprintable() else '?' for c in subject[:200])}"


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether a certificate names itself as its issuer, so that nobody relies on its signature."""
    return certificate.issuer == certificate.subject


def _text(content: str) -> str:
    return content.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")


def _certificates(parameter: str, content: str) -> list[x509.Certificate]:
    blocks = CERTIFICATE_BLOCK.findall(_text(content))
    if not blocks:
        raise Refused(f"{parameter} holds no PEM certificate (-----BEGIN CERTIFICATE-----)")
    if len(blocks) > MAX_CERTIFICATES:
        raise Refused(f"{parameter} holds {len(blocks)} certificates: at most {MAX_CERTIFICATES} are allowed")
    return [_certificate(parameter, number, block) for number, block in enumerate(blocks, 1)]


def _certificate(parameter: str, number: int, block: str) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(block.encode("latin-1"))
        for part in ("subject", "issuer", "extensions"):  # these are parsed only when they are looked at
            getattr(certificate, part)
        return certificate
    except (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm) as error:
        raise Refused(
            f"Certificate {number} in {parameter} is damaged: send the file as your authority made it"
        ) from error


def _key_block(content: str) -> str:
    blocks: list[str] = KEY_BLOCK.findall(_text(content))
    if not blocks:
        raise Refused("private holds no PEM private key (-----BEGIN PRIVATE KEY-----)")
    if len(blocks) > 1:
        raise Refused(f"private holds {len(blocks)} private keys: exactly one is allowed")
    return blocks[0] + "\n"


def _load_key(block: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if "ENCRYPTED" in block:
        raise Refused("The private key is encrypted: remove its passphrase")
    try:
        # RSA keys are validated only when they are no longer than allowed: 16,384 bits would take minutes.
        unchecked = load_pem_private_key(block.encode("latin-1"), None, unsafe_skip_rsa_key_validation=True)
        kind = tls_keys.unfit(unchecked.public_key())
        key = unchecked if kind else load_pem_private_key(block.encode("latin-1"), None)
    except UnsupportedAlgorithm as error:
        raise Refused(f"The private key is of a kind that is not supported: {ALLOWED_KEYS}") from error
    except (ValueError, TypeError) as error:
        raise Refused("The private key is damaged: send the file as it was made, in PEM") from error
    if kind is None and isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return key
    raise Refused(f"The private key is {kind}: {ALLOWED_KEYS}")


def _check_key_kind(certificate: x509.Certificate, authority: bool) -> None:
    kind = tls_keys.unfit_in(certificate, authority)
    if kind:
        raise Refused(f"The key of {name(certificate)} is {kind}: {ALLOWED_KEYS}")


def _check_key_belongs(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, certificates: Sequence[x509.Certificate]
) -> None:
    wanted = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    matching = [number for number, each in enumerate(certificates, 1) if _public_key(each) == wanted]
    if not matching:
        raise Refused("The private key does not belong to the certificate in public")
    if matching[0] != 1:
        raise Refused(f"The private key belongs to certificate {matching[0]} in public, which must be the first")


def _public_key(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None


def _without_duplicates(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The same intermediate often comes in both files."""
    return list(dict.fromkeys(certificates))


def _check_signature_hash(certificate: x509.Certificate) -> None:
    try:
        weak = isinstance(certificate.signature_hash_algorithm, WEAK_HASHES)
    except UnsupportedAlgorithm:
        weak = True
    if weak and not is_self_signed(certificate):
        raise Refused(
            f"The signature of {name(certificate)} is too weak (MD5, SHA-1 or unknown): SHA-256 or better is needed"
        )


def _check_issued(number: int, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    if not _signed(certificate, issuer):
        raise Refused(
            f"Certificate {number + 1} of the chain ({name(issuer)}) did not sign certificate {number} "
            f"({name(certificate)}): send them in order, each signed by the next"
        )
    if not _may_sign(issuer):
        raise Refused(f"Certificate {number + 1} of the chain ({name(issuer)}) is not the certificate of an authority")


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True

"""A key, its certificate and the chain above it: read from PEM and judged before anything serves them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from jidoteki.hookspecs import tls_keys
from jidoteki.plugins.certs import pem_texts
from jidoteki.plugins.certs.pem_texts import Refused

ALLOWED_KEYS: Final = tls_keys.ALLOWED
WEAK_HASHES: Final = (hashes.MD5, hashes.SHA1)
MAX_CERTIFICATES: Final = 16
#: Why extensions that OpenSSL serves cannot be read, such as a name in Latin-1.
_UNREADABLE: Final = (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


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
    bundle = load(public, private, ca)
    check_signatures(bundle)
    return bundle


def load(public: str, private: str, ca: str = "") -> Bundle:
    """Read what belongs together, in the order in which a server sends it.

    :raises Refused: something cannot be read, has a key that is not allowed, or does not belong to the key.
    """
    certificates = _certificates("public", public)
    key_text = pem_texts.key(private)
    key = _load_key(key_text)
    leaf = _belonging(key, certificates)
    rest = [*certificates, *(_certificates("ca", ca) if ca else [])]
    chain = _in_order(_without_duplicates([leaf, *rest]))
    if len(chain) > MAX_CERTIFICATES:
        raise Refused(f"The chain has {len(chain)} certificates: at most {MAX_CERTIFICATES} are allowed")
    for number, certificate in enumerate(chain):
        _check_key_kind(certificate, authority=number > 0)
    return Bundle(key_text, chain[0], tuple(chain[1:]))


def check_signatures(bundle: Bundle) -> None:
    """Look at what the certificates are for, and how and by whom they are signed.

    :raises Refused: TLS clients do not take them.
    """
    chain = (bundle.certificate, *bundle.chain)
    for number, certificate in enumerate(chain):
        _check_signature_hash(certificate, authority=number > 0)
    _check_usage(bundle.certificate)
    for number, (certificate, issuer) in enumerate(itertools.pairwise(chain), 1):
        _check_issued(number, certificate, issuer)


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
    if not _has_readable_extensions(bundle.certificate):
        found.append(f"Warning: {name(bundle.certificate)} has extensions that many TLS clients cannot read")
    elif _extension(bundle.certificate, x509.SubjectAlternativeName) is None:
        found.append(f"Warning: {name(bundle.certificate)} has no subjectAltName, without which browsers refuse it")
    if bundle.chain and not is_self_signed(bundle.chain[-1]):
        last = name(bundle.chain[-1])
        found.append(f"Warning: the chain ends with {last}: clients that lack the authority above it refuse it")
    elif not bundle.chain and not bundle.self_signed:
        found.append(
            f"Warning: no authority was sent for {name(bundle.certificate)}: clients that lack it refuse the connection"
        )
    return found


def name(certificate: x509.Certificate) -> str:
    """The subject of a certificate, fit for a log line."""
    try:
        subject = certificate.subject.rfc4514_string() or "without a subject"
    except ValueError:
        subject = "with an unreadable subject"
    return f"the certificate {''.join(c if c.isprintable() else '?' for c in subject[:200])}"


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether a certificate names itself as its issuer, so that nobody relies on its signature."""
    try:
        return certificate.issuer == certificate.subject
    except ValueError:  # a name in another encoding than it says
        return _signed(certificate, certificate)


def _certificates(parameter: str, content: str) -> list[x509.Certificate]:
    blocks = pem_texts.certificates(parameter, content)
    if len(blocks) > MAX_CERTIFICATES:
        raise Refused(f"{parameter} holds {len(blocks)} certificates: at most {MAX_CERTIFICATES} are allowed")
    return [_certificate(parameter, number, block) for number, block in enumerate(blocks, 1)]


def _certificate(parameter: str, number: int, block: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block.encode("latin-1"))
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise Refused(
            f"Certificate {number} in {parameter} is damaged: send the file as your authority made it"
        ) from error


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


def _belonging(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, certificates: Sequence[x509.Certificate]
) -> x509.Certificate:
    """The certificate that a key belongs to."""
    wanted = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for certificate in certificates:
        if _public_key(certificate) == wanted:
            return certificate
    raise Refused("The private key does not belong to the certificate in public")


def _public_key(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None


def _without_duplicates(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The same intermediate often comes in both files."""
    return list(dict.fromkeys(certificates))


def _in_order(certificates: list[x509.Certificate]) -> list[x509.Certificate]:
    """The first certificate and those above it, each before the one that signed it; as they came where some are not."""
    chain, left = certificates[:1], certificates[1:]
    while not is_self_signed(chain[-1]) and (signers := [each for each in left if _signed(chain[-1], each)]):
        chain.append(min(signers, key=lambda each: _rank(each, left)))
        left.remove(chain[-1])
    keys = {_public_key(authority) for authority in chain[1:]}
    return chain if all(_public_key(each) in keys for each in left) else certificates


def _rank(authority: x509.Certificate, others: Sequence[x509.Certificate]) -> int:
    """Which certificate of a cross-signed authority to serve: with it, clients that know either root are content.

    The root's own comes first only where the root that signed the other one was not sent.
    """
    if is_self_signed(authority):
        return 1
    return 0 if any(_signed(authority, each) for each in others) else 2


def _check_usage(certificate: x509.Certificate) -> None:
    """Refuse what TLS clients do not take as a server's: RFC 5280, 4.2.1.3 and 4.2.1.12."""
    if certificate.version == x509.Version.v1 and not is_self_signed(certificate):  # whoever trusts that one, pins it
        raise Refused(f"TLS clients refuse {name(certificate)}: it is of version 1, and only an authority's may be")
    usage = _extension(certificate, x509.KeyUsage)
    if usage and not usage.digital_signature:
        raise Refused(f"TLS clients refuse {name(certificate)}: its key usage lacks digitalSignature")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and ExtendedKeyUsageOID.SERVER_AUTH not in purposes:  # "any" is not enough for OpenSSL
        raise Refused(f"TLS clients refuse {name(certificate)}: its extended key usage lacks serverAuth")


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """An extension; none where they cannot be read, so that OpenSSL alone judges them, in the handshake."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return None


def _has_readable_extensions(certificate: x509.Certificate) -> bool:
    try:
        _ = certificate.extensions  # parsed only when they are looked at
    except _UNREADABLE:
        return False
    return True


def _check_signature_hash(certificate: x509.Certificate, authority: bool) -> None:
    try:
        weak = isinstance(certificate.signature_hash_algorithm, WEAK_HASHES)
    except UnsupportedAlgorithm:
        weak = True
    if weak and not (authority and is_self_signed(certificate)):
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
    if certificate.version == x509.Version.v1:  # a root of old, which clients have as an anchor
        return is_self_signed(certificate)
    if not _has_readable_extensions(certificate):
        return True
    constraints, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)

"""The content of a certificate, and whether another one signed it (RFC 5280)."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: The errors on extensions that only OpenSSL can read, such as a name in Latin-1.
_UNREADABLE: Final = (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def name(certificate: x509.Certificate) -> str:
    """Return the subject of a certificate for a log line."""
    try:
        subject = _printable(certificate.subject) or "without a subject"
    except ValueError:
        subject = "with an unreadable subject"
    return f"the certificate {subject}"


def subject_name(certificate: x509.Certificate) -> str | None:
    """Whose certificate it is, fit for a log line; None where that is empty or cannot be read."""
    try:
        return _printable(certificate.subject) or None
    except ValueError:
        return None


def issuer_name(certificate: x509.Certificate) -> str | None:
    """Return the issuer of a certificate for a log line; None if it cannot be read."""
    try:
        return _printable(certificate.issuer) or None
    except ValueError:
        return None


def _printable(name: x509.Name) -> str:
    return "".join(c if c.isprintable() else "?" for c in name.rfc4514_string()[:200])


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Return whether a certificate names itself as its issuer, so that nobody relies on its signature."""
    try:
        return certificate.issuer == certificate.subject
    except ValueError:  # a name in another encoding than declared
        return is_signed(certificate, certificate)


def is_signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    """Return whether `by` is the issuer of a certificate, and its key signed it."""
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def names_as_issuer(certificate: x509.Certificate, other: x509.Certificate) -> bool:
    """Return whether a certificate names another one's subject as its issuer, with any key."""
    try:
        return certificate.issuer == other.subject
    except ValueError:
        return False


def is_valid_at(certificate: x509.Certificate, time: datetime) -> bool:
    """Return whether a time is within a certificate's validity period."""
    return certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc


def public_key(certificate: x509.Certificate) -> bytes | None:
    """Return the public key as a SubjectPublicKeyInfo in DER; None if it cannot be read."""
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return an extension; None if they cannot be read, as OpenSSL checks them in the handshake anyway."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return None


def has_readable_extensions(certificate: x509.Certificate) -> bool:
    """Return whether a certificate's extensions can be read."""
    try:
        _ = certificate.extensions  # parsed on access
    except _UNREADABLE:
        return False
    return True


def may_sign(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is that of an authority."""
    if certificate.version == x509.Version.v1:  # an old root, which clients have as a trust anchor
        return is_self_signed(certificate)
    if not has_readable_extensions(certificate):
        return True
    constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)

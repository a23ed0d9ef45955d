"""Warnings about accepted certificates that some clients will refuse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import PublicKeyAlgorithmOID

from jidoteki.plugins.certs.bundle import Bundle
from jidoteki.plugins.certs.certificates import (
    extension,
    has_readable_extensions,
    is_self_signed,
    issuer_name,
    name,
    public_key,
)

LONGEST: Final = timedelta(days=825)
"""The longest validity of a server's certificate of July 2019 or later that Apple's TLS accepts (HT210176)."""


def of(bundle: Bundle, now: datetime | None = None) -> list[str]:
    """Return the warnings about a bundle, one sentence each."""
    found: list[str] = []
    for certificate in (bundle.certificate, *bundle.authorities):
        found += [*_of_dates(certificate, now or datetime.now(UTC)), *_of_key(certificate)]
    found += [*_of_names(bundle.certificate), *_of_server(bundle), *_of_authorities(bundle)]
    return found


def _of_dates(certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    if now > certificate.not_valid_after_utc:
        yield f"{name(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        yield f"{name(certificate)} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"


def _of_key(certificate: x509.Certificate) -> Iterator[str]:
    """Yield warnings about keys that OpenSSL accepts and others do not (RFC 4055, 1.2; RFC 8446, 4.2.8.2)."""
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        yield (
            f"the key of {name(certificate)} is for RSASSA-PSS alone, which browsers and many other clients refuse: "
            "make a plain RSA key"
        )
    elif isinstance(key := certificate.public_key(), ec.EllipticCurvePublicKey):
        yield from _of_point(certificate, key)


def _of_point(certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> Iterator[str]:
    # The usual form: a named curve and an uncompressed point (RFC 5480, 2.1.1 and 2.2).
    encoded = public_key(certificate)
    if not encoded or encoded in certificate.tbs_certificate_bytes:
        return
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    if point in certificate.tbs_certificate_bytes:
        yield (
            f"the key of {name(certificate)} spells out its curve in place of naming it, which many clients refuse: "
            "make the key without -param_enc explicit"
        )
    else:
        yield (
            f"the key of {name(certificate)} is a compressed point, which many TLS clients cannot read: "
            "make the key without -conv_form compressed"
        )


def _of_names(certificate: x509.Certificate) -> Iterator[str]:
    if not has_readable_extensions(certificate):
        yield f"{name(certificate)} has extensions that many TLS clients cannot read"
    elif extension(certificate, x509.SubjectAlternativeName) is None:
        yield f"{name(certificate)} has no subjectAltName, without which browsers refuse it"


def _of_server(bundle: Bundle) -> Iterator[str]:
    certificate = bundle.certificate
    if bundle.self_signed:
        return  # clients trust exactly this certificate, or none of it
    constraints = extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield f"{name(certificate)} is an authority's (CA:TRUE), which Firefox refuses as a server's"
    features = extension(certificate, x509.TLSFeature)
    if features is not None and x509.TLSFeatureType.status_request in features:
        yield (
            f"{name(certificate)} demands OCSP stapling (must-staple), which this service does not do: clients such as "
            "Firefox refuse it; have it issued without"
        )
    valid = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if valid > LONGEST:
        yield f"{name(certificate)} is valid for {valid.days} days: Apple's systems refuse more than {LONGEST.days}"


def _of_authorities(bundle: Bundle) -> Iterator[str]:
    if bundle.chain and not is_self_signed(bundle.chain[-1]):
        last, missing = name(bundle.chain[-1]), issuer_name(bundle.chain[-1])
        above = f"the authority above it{f', {missing},' if missing else ''}"
        yield f"the chain ends with {last}: clients that lack {above} refuse it"
    elif not bundle.chain and not bundle.self_signed:
        yield f"no authority was sent for {name(bundle.certificate)}: clients that lack it refuse the connection"
    for each in bundle.left_out:
        yield f"{name(each)} is not above {name(bundle.certificate)} and is left out"

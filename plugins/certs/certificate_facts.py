"""The description of a certificate in responses and dry runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from jidoteki.hookspecs import Appliance, paths
from jidoteki.plugins.certs.certificates import extension, issuer_name, subject_name
from jidoteki.plugins.certs.jobs import TlsFiles

MAX_NAMES: Final = 100
MAX_LENGTH: Final = 253
PROPERTIES: Final[dict[str, Any]] = {
    "subject": {"type": ["string", "null"], "description": "As in RFC 4514; null where it is empty or cannot be read"},
    "names": {"type": "array", "items": {"type": "string"}, "description": "Host names and addresses, at most 100"},
    "issuer": {"type": ["string", "null"]},
    "not-after": {"type": "integer", "description": "When it ceases to be valid, in seconds since the epoch"},
    "fingerprint": {"type": "string", "pattern": "^([0-9A-F]{2}:){31}[0-9A-F]{2}$", "description": "SHA-256"},
}
PREVIEWED: Final[dict[str, Any]] = {
    **PROPERTIES,
    "warnings": {"type": "array", "items": {"type": "string"}, "description": "Which clients refuse it, and why"},
}
PENDING: Final[dict[str, Any]] = {
    "type": "object",
    "description": "What is in use on trial: the former one comes back unless POST /certs/confirm confirms this one",
    "required": ["seconds-left", "certificate"],
    "properties": {
        "seconds-left": {"type": "integer", "minimum": 0},
        "certificate": {"type": "object", "properties": PROPERTIES},
    },
}
EXAMPLE: Final[dict[str, Any]] = {
    "subject": "CN=appliance.example",
    "names": ["appliance.example", "192.168.1.10"],
    "issuer": "CN=Example CA",
    "not-after": 1795812000,
    "fingerprint": ":".join(["0F"] * 32),
}


def facts(certificate: x509.Certificate) -> dict[str, Any]:
    """Return the description of a certificate."""
    return {
        "subject": subject_name(certificate),
        "names": list(_names(certificate))[:MAX_NAMES],
        "issuer": issuer_name(certificate),
        "not-after": int(certificate.not_valid_after_utc.timestamp()),
        "fingerprint": certificate.fingerprint(SHA256()).hex(":").upper(),
    }


def served(appliance: Appliance) -> dict[str, Any]:
    """Return the description of the certificate in use, empty if it cannot be read; blocks."""
    try:
        content = paths.read_regular(TlsFiles.of(appliance).served, follow=True)
        return facts(x509.load_pem_x509_certificate(content))
    except (OSError, ValueError):
        return {}


def _names(certificate: x509.Certificate) -> Iterator[str]:
    alternative = extension(certificate, x509.SubjectAlternativeName)
    for each in alternative or ():
        if isinstance(each, x509.DNSName | x509.IPAddress):
            yield "".join(c if c.isprintable() else "?" for c in str(each.value)[:MAX_LENGTH])

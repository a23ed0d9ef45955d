"""Keys that are accepted for TLS: strong enough, and cheap enough for a service that signs at each handshake.

An RSA signature takes eight times as long for each doubling of the key: 16,384 bits take 150 ms, which block all other
requests.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

MINIMUM_RSA_BITS: Final = 2048
MAXIMUM_RSA_BITS: Final = 4096
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
#: Cheap as well, but few TLS clients accept such a key in a server's certificate.
AUTHORITIES_ALONE: Final = (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
ALLOWED: Final = "allowed are RSA keys of 2048 to 4096 bits and EC keys on P-256, P-384 or P-521"


def unsupported(key: object, authority: bool = False) -> str | None:
    """Return a description, such as `RSA of 16384 bits`, of a public key that is not accepted; None if it is.

    :param authority: whether it belongs to a certificate authority, for which OpenSSL sets the minimum strength.
    """
    if isinstance(key, rsa.RSAPublicKey):
        shortest = 1 if authority else MINIMUM_RSA_BITS
        return None if shortest <= key.key_size <= MAXIMUM_RSA_BITS else f"RSA of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None if isinstance(key.curve, CURVES) else f"EC on {key.curve.name}"
    if authority and isinstance(key, AUTHORITIES_ALONE):
        return None
    return type(key).__name__.removesuffix("PublicKey")


def unsupported_key_of(certificate: x509.Certificate, authority: bool) -> str | None:
    """Return a description of a certificate's key that is not accepted; None if it is."""
    try:
        return unsupported(certificate.public_key(), authority)
    except (ValueError, UnsupportedAlgorithm):
        return "of a kind that is not supported"

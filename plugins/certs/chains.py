"""Finding a server certificate's chain among the certificates that were sent, in the order of the TLS handshake.

Files of authorities, and those to which each renewal was appended, contain more than one certificate with the same
name and key. A server sends one of them, as clients stop at the first match: so it must be a valid one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from jidoteki.plugins.certs.certificates import is_self_signed, is_signed, is_valid_at, public_key


@dataclass(frozen=True, slots=True)
class Sorted:
    """A server's certificate, its chain, in which each certificate signed the one before, and the others."""

    chain: tuple[x509.Certificate, ...]
    crossed: tuple[x509.Certificate, ...]
    """Valid cross-certificates of authorities in the chain, by which clients find a path to another root."""
    strangers: tuple[x509.Certificate, ...]
    """Certificates of keys that are not in the chain."""

    @property
    def is_whole(self) -> bool:
        """Whether the chain ends with a root."""
        return is_self_signed(self.chain[-1])


def sort(first: x509.Certificate, others: Sequence[x509.Certificate], now: datetime) -> Sorted:
    """Return the chain of the first certificate, found among others in any order."""
    chain, left = [first], list(dict.fromkeys(each for each in others if each != first))
    while not is_self_signed(chain[-1]) and (signers := [each for each in left if is_signed(chain[-1], each)]):
        chain.append(min(signers, key=lambda each: _of_authority(each, left, now)))
        left.remove(chain[-1])
    keys = {public_key(each) for each in chain}
    crossed: dict[bytes, x509.Certificate] = {}
    for each in sorted(left, key=_ends_late):
        if public_key(each) in keys and is_valid_at(each, now) and _opens_another_way(each, chain):
            crossed.setdefault(each.issuer.public_bytes(), each)
    strangers = [each for each in left if public_key(each) not in keys]
    return Sorted(tuple(chain), tuple(crossed.values()), tuple(strangers))


def _opens_another_way(twin: x509.Certificate, chain: Sequence[x509.Certificate]) -> bool:
    """Return whether a further certificate of an authority in the chain is signed by another issuer."""
    issuers = [each.issuer for each in chain if public_key(each) == public_key(twin)]
    is_authoritys = public_key(twin) != public_key(chain[0])
    return is_authoritys and not is_self_signed(twin) and twin.issuer not in issuers


def best(certificates: Sequence[x509.Certificate], now: datetime) -> x509.Certificate:
    """Return the certificate of a key to serve: a valid one, signed by an authority, the last to expire."""
    return min(certificates, key=lambda each: (not is_valid_at(each, now), is_self_signed(each), _ends_late(each)))


def _of_authority(
    authority: x509.Certificate, others: Sequence[x509.Certificate], now: datetime
) -> tuple[bool, int, float]:
    """Return the sort key by which an authority's certificate is chosen: valid ones first.

    Of a cross-signed authority the one comes next that clients accept with either root; the root itself is preferred
    only if no valid root that signed the other one was sent.
    """
    rank = 1
    if not is_self_signed(authority):
        roots = [each for each in others if is_valid_at(each, now)] or others
        rank = 0 if any(is_signed(authority, each) for each in roots) else 2
    return not is_valid_at(authority, now), rank, _ends_late(authority)


def _ends_late(certificate: x509.Certificate) -> float:
    return -certificate.not_valid_after_utc.timestamp()

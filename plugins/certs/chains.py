"""Which of the certificates that were sent stand above a server's, in the order in which it sends them to its clients.

Files of authorities, and those to which each renewal was appended, hold more than one certificate of the same name and
key. A server sends one of them, for clients stop at the first that fits: so it must be one that is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from jidoteki.plugins.certs.certificates import is_self_signed, is_signed, is_valid_at, public_key


@dataclass(frozen=True, slots=True)
class Sorted:
    """A server's certificate with those above it, each of which signed the one before, and what is none of these."""

    chain: tuple[x509.Certificate, ...]
    crossed: tuple[x509.Certificate, ...]
    """Valid ones of authorities in the chain that others signed: with them clients find the way to another root."""
    strangers: tuple[x509.Certificate, ...]
    """Of owners that are not in the chain."""

    @property
    def is_whole(self) -> bool:
        """Whether the chain ends with a root."""
        return is_self_signed(self.chain[-1])


def sort(first: x509.Certificate, others: Sequence[x509.Certificate], now: datetime) -> Sorted:
    """Take those above the first certificate out of others in any order."""
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
    """Whether one of an authority in the chain is signed by somebody else than the one that is in the chain."""
    issuers = [each.issuer for each in chain if public_key(each) == public_key(twin)]
    is_authoritys = public_key(twin) != public_key(chain[0])
    return is_authoritys and not is_self_signed(twin) and twin.issuer not in issuers


def best(certificates: Sequence[x509.Certificate], now: datetime) -> x509.Certificate:
    """Return which certificate of one key to serve: a valid one, an authority's, and the one that lasts longest."""
    return min(certificates, key=lambda each: (not is_valid_at(each, now), is_self_signed(each), _ends_late(each)))


def _of_authority(
    authority: x509.Certificate, others: Sequence[x509.Certificate], now: datetime
) -> tuple[bool, int, float]:
    """Which of an authority's certificates to serve first: a valid one.

    Of a cross-signed authority then the one with which clients that know either root are content; the root's own comes
    first only where no valid root that signed the other one was sent.
    """
    rank = 1
    if not is_self_signed(authority):
        roots = [each for each in others if is_valid_at(each, now)] or others
        rank = 0 if any(is_signed(authority, each) for each in roots) else 2
    return not is_valid_at(authority, now), rank, _ends_late(authority)


def _ends_late(certificate: x509.Certificate) -> float:
    return -certificate.not_valid_after_utc.timestamp()

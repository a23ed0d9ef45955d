"""Keys, certificates and chains, judged before anything serves them; those here are made in this process."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jidoteki.plugins.certs import bundle, chains
from jidoteki.plugins.certs.pem_texts import CertificateError

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)


def dn(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Owner:
    """Who has a name and a key."""

    name: str
    key: Any

    @classmethod
    def of(cls, name: str, curve: ec.EllipticCurve | None = None) -> Owner:
        return cls(name, ec.generate_private_key(curve or ec.SECP256R1()))

    def private(self) -> str:
        text: bytes = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return text.decode()

    def signs(
        self,
        other: Owner,
        *extensions: x509.ExtensionType,
        days: tuple[float, float] = (-1, 30),
        digest: Any = None,
    ) -> x509.Certificate:
        """Sign a certificate of somebody, valid from and until so many days from now."""
        builder = x509.CertificateBuilder(
            dn(self.name), dn(other.name), other.key.public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(NOW + timedelta(days=days[0])).not_valid_after(NOW + timedelta(days=days[1]))
        for each in extensions:
            builder = builder.add_extension(each, critical=False)
        edwards = isinstance(self.key, ed25519.Ed25519PrivateKey)
        return builder.sign(self.key, None if edwards else digest or hashes.SHA256())


def usage(**allowed: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    none = dict.fromkeys((*names, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**{**none, **allowed})


LEAF, MIDDLE, ROOT, OTHER_ROOT, STRANGER = map(Owner.of, ("leaf", "middle", "root", "other root", "stranger"))
OF_ROOT = ROOT.signs(ROOT, AUTHORITY)
OF_MIDDLE = ROOT.signs(MIDDLE, AUTHORITY)
OF_LEAF = MIDDLE.signs(LEAF)
ALONE = LEAF.signs(LEAF)
OF_STRANGER = STRANGER.signs(STRANGER, AUTHORITY)


def read(public: Sequence[x509.Certificate], ca: Sequence[x509.Certificate] = (), key: Owner = LEAF) -> bundle.Bundle:
    return bundle.read(bundle.pem(public), key.private(), bundle.pem(ca))


def refusal(public: Sequence[x509.Certificate], ca: Sequence[x509.Certificate] = (), key: Owner = LEAF) -> str:
    with pytest.raises(CertificateError) as caught:
        read(public, ca, key)
    return str(caught.value)


def test_a_certificate_may_be_its_own_authority() -> None:
    found = read([ALONE])

    assert (found.certificate, found.chain, found.crossed, found.left_out) == (ALONE, (), (), ())
    assert found.self_signed and found.authorities == ()
    assert found.pem() == LEAF.private() + bundle.pem([ALONE])


@pytest.mark.parametrize("ca", [[OF_MIDDLE, OF_ROOT], [OF_ROOT, OF_MIDDLE], [OF_ROOT, OF_MIDDLE, OF_MIDDLE, OF_LEAF]])
def test_a_chain_is_put_in_order(ca: list[x509.Certificate]) -> None:
    found = read([OF_LEAF], ca)

    assert (found.certificate, found.chain, found.left_out) == (OF_LEAF, (OF_MIDDLE, OF_ROOT), ())
    assert not found.self_signed
    assert found.pem() == LEAF.private() + bundle.pem([OF_LEAF, OF_MIDDLE, OF_ROOT])
    assert read([*ca, OF_LEAF]) == found


def test_a_chain_may_lack_its_root_but_not_what_signed_the_first_one() -> None:
    assert read([OF_LEAF], [OF_MIDDLE]).chain == (OF_MIDDLE,)
    assert read([OF_LEAF]).chain == ()
    assert refusal([OF_LEAF], [OF_ROOT]) == (
        "Certificate 2 of the chain (the certificate CN=root) did not sign certificate 1 (the certificate CN=leaf): "
        "its issuer, CN=middle, is missing; add that one's certificate to ca"
    )
    found = read([OF_LEAF], [OF_STRANGER, OF_MIDDLE])
    assert (found.chain, found.left_out) == ((OF_MIDDLE,), (OF_STRANGER,))


def test_an_issuer_with_another_key_is_told() -> None:
    renewed = Owner.of("middle")

    assert refusal([OF_LEAF], [OF_STRANGER, ROOT.signs(renewed, AUTHORITY)]) == (
        "Certificate 2 of the chain (the certificate CN=middle) did not sign certificate 1 (the certificate CN=leaf): "
        "it has another key than the issuer of the same name, which is missing; add that to ca"
    )


def test_what_does_not_belong_to_a_whole_chain_is_left_out() -> None:
    found = read([OF_LEAF], [OF_STRANGER, OF_MIDDLE, OF_ROOT])

    assert (found.chain, found.left_out) == ((OF_MIDDLE, OF_ROOT), (OF_STRANGER,))
    assert read([ALONE], [OF_STRANGER]).left_out == (OF_STRANGER,)


def test_a_key_belongs_to_one_of_the_certificates() -> None:
    assert refusal([OF_LEAF], key=STRANGER) == "The private key does not belong to the certificate in public"
    assert refusal([OF_MIDDLE], [OF_LEAF]) == "The private key does not belong to the certificate in public"


def test_a_chain_has_16_certificates() -> None:
    owners = [Owner.of(f"ca{number}") for number in range(16)]
    above = [owners[0].signs(owners[0], AUTHORITY)]
    for issuer, owner in zip(owners, owners[1:], strict=False):
        above.append(issuer.signs(owner, AUTHORITY))

    assert len(read([owners[14].signs(LEAF)], above[:15]).chain) == 15
    leaf = owners[15].signs(LEAF)
    assert refusal([leaf], above) == "The chain has 17 certificates: at most 16 are allowed"


def test_a_parameter_has_16_certificates() -> None:
    assert refusal([OF_LEAF] * 17) == "public holds 17 certificates: at most 16 are allowed"
    assert refusal([OF_LEAF], [OF_MIDDLE] * 17) == "ca holds 17 certificates: at most 16 are allowed"
    assert read([OF_LEAF] * 16, [OF_MIDDLE] * 16).chain == (OF_MIDDLE,)


def damaged(certificate: x509.Certificate) -> str:
    lines = bundle.pem([certificate]).splitlines()
    return "\n".join([*lines[:2], *lines[3:], ""])


def test_a_damaged_certificate_is_told_by_its_number() -> None:
    with pytest.raises(CertificateError, match="Certificate 2 in public is damaged"):
        bundle.read(bundle.pem([OF_LEAF]) + damaged(OF_MIDDLE), LEAF.private())
    with pytest.raises(CertificateError, match="Certificate 1 in ca is damaged"):
        bundle.read(bundle.pem([OF_LEAF]), LEAF.private(), damaged(OF_MIDDLE))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "is encrypted: remove its passphrase"),
        (lambda text: "\n".join([*text.splitlines()[:2], *text.splitlines()[3:]]), "is damaged: send the file"),
        (lambda text: text.replace("\nM", "\n!M", 1), "is damaged: send the file"),
    ],
)
def test_a_key_that_cannot_be_read_is_told(change: Any, told: str) -> None:
    with pytest.raises(CertificateError, match=told):
        bundle.read(bundle.pem([ALONE]), change(LEAF.private()))


def test_an_encrypted_key_of_old_is_told() -> None:
    old = LEAF.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"x"),
    ).decode()

    with pytest.raises(CertificateError, match="is encrypted"):
        bundle.read(bundle.pem([ALONE]), old)


def test_a_key_of_a_kind_that_nobody_knows_is_told() -> None:
    # PKCS#8 of the algorithm 1.2.3.4.
    der = bytes.fromhex("300f 020100 3005 06032a0304 0403 020100")
    block = f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END PRIVATE KEY-----\n"

    with pytest.raises(CertificateError, match="The private key is of a kind that is not supported: allowed are"):
        bundle.read(bundle.pem([ALONE]), block)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ec.generate_private_key(ec.SECP224R1()), "EC on secp224r1"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (rsa.generate_private_key(65537, 1024), "RSA of 1024 bits"),
    ],
)
def test_a_key_that_is_not_fit_is_told_by_its_kind(key: Any, kind: str) -> None:
    owner = Owner("weak", key)
    allowed = "allowed are RSA keys of 2048 to 4096 bits and EC keys on P-256, P-384 or P-521"

    assert refusal([owner.signs(owner)], key=owner) == f"The private key is {kind}: {allowed}"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_keys_on_the_three_curves_are_taken(curve: ec.EllipticCurve) -> None:
    owner = Owner.of("owner", curve)

    assert read([owner.signs(owner)], key=owner).key == owner.private()


def test_an_rsa_key_of_2048_bits_is_taken() -> None:
    owner = Owner("owner", rsa.generate_private_key(65537, 2048))

    assert read([owner.signs(owner)], key=owner).self_signed


def test_an_authority_may_have_another_kind_of_key_but_not_any() -> None:
    edwards = Owner("middle", ed25519.Ed25519PrivateKey.generate())
    assert read([edwards.signs(LEAF)], [ROOT.signs(edwards, AUTHORITY)]).chain
    weak = Owner.of("middle", ec.SECP224R1())
    assert refusal([weak.signs(LEAF)], [ROOT.signs(weak, AUTHORITY)]).startswith(
        "The key of the certificate CN=middle is EC on secp224r1: allowed"
    )


def test_an_authority_must_be_one() -> None:
    for extensions in ((), (x509.BasicConstraints(False, None),), (AUTHORITY, usage(crl_sign=True))):
        assert refusal([OF_LEAF], [ROOT.signs(MIDDLE, *extensions)]) == (
            "Certificate 2 of the chain (the certificate CN=middle) is not the certificate of an authority"
        )
    assert read([OF_LEAF], [ROOT.signs(MIDDLE, AUTHORITY, usage(key_cert_sign=True))]).chain
    top = ROOT.signs(ROOT, x509.BasicConstraints(False, None))
    assert refusal([OF_LEAF], [OF_MIDDLE, top]).startswith("Certificate 3 of the chain (the certificate CN=root)")


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA3_256()])
def test_a_signature_of_sha_2_is_taken(digest: Any) -> None:
    assert read([MIDDLE.signs(LEAF, digest=digest)], [OF_MIDDLE])


def test_a_weak_signature_is_refused_but_of_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library signs with nothing that weak any more.
    monkeypatch.setattr(bundle, "WEAK_HASHES", (hashes.SHA224,))
    told = "The signature of the certificate CN={} is too weak (MD5, SHA-1 or unknown): SHA-256 or better is needed"
    weak = hashes.SHA224()

    assert refusal([LEAF.signs(LEAF, digest=weak)]) == told.format("leaf")
    assert refusal([MIDDLE.signs(LEAF, digest=weak)], [OF_MIDDLE]) == told.format("leaf")
    assert refusal([OF_LEAF], [ROOT.signs(MIDDLE, AUTHORITY, digest=weak)]) == told.format("middle")
    assert read([OF_LEAF], [OF_MIDDLE, ROOT.signs(ROOT, AUTHORITY, digest=weak)])


def test_a_signature_of_a_kind_that_nobody_knows_is_weak() -> None:
    ecdsa_with_sha256 = bytes.fromhex("2a8648ce3d040302")
    der = ALONE.public_bytes(serialization.Encoding.DER).replace(ecdsa_with_sha256, ecdsa_with_sha256[:-1] + b"\x7f")

    assert refusal([x509.load_der_x509_certificate(der)]).startswith(
        "The signature of the certificate CN=leaf is too weak"
    )


def test_md5_and_sha_1_are_weak() -> None:
    assert set(bundle.WEAK_HASHES) == {hashes.MD5, hashes.SHA1}


@pytest.mark.parametrize(
    ("extension", "told"),
    [
        (usage(key_agreement=True), "its key usage lacks digitalSignature"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), "its extended key usage lacks serverAuth"),
        (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
            "its extended key usage lacks serverAuth",
        ),
        (usage(digital_signature=True), None),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), None),
    ],
)
def test_a_certificate_must_be_for_servers(extension: x509.ExtensionType, told: str | None) -> None:
    certificate = MIDDLE.signs(LEAF, extension)
    if told:
        assert refusal([certificate], [OF_MIDDLE]) == f"TLS clients refuse the certificate CN=leaf: {told}"
    else:
        assert read([certificate], [OF_MIDDLE]).certificate == certificate


# Which of several


def test_of_one_keys_certificates_the_valid_one_an_authoritys_and_the_longest_is_served() -> None:
    expired = MIDDLE.signs(LEAF, days=(-9, -1))
    future = MIDDLE.signs(LEAF, days=(1, 90))
    short = MIDDLE.signs(LEAF, days=(-1, 5))
    own = LEAF.signs(LEAF, days=(-1, 90))

    for others in ([expired], [future], [short], [own], [own, expired, future, short]):
        assert chains.best([*others, OF_LEAF], NOW) == chains.best([OF_LEAF, *others], NOW) == OF_LEAF
    assert chains.best([expired, own], NOW) == own
    assert chains.best([expired, future], NOW) == future


def sorted_of(*others: x509.Certificate) -> chains.Sorted:
    found = chains.sort(OF_LEAF, others, NOW)
    assert chains.sort(OF_LEAF, others[::-1], NOW).chain == found.chain
    return found


def test_of_a_renewed_authority_the_valid_certificate_is_served_and_else_the_longest() -> None:
    expired, longer = ROOT.signs(MIDDLE, AUTHORITY, days=(-9, -1)), ROOT.signs(MIDDLE, AUTHORITY, days=(-1, 60))

    assert sorted_of(expired, OF_MIDDLE).chain == (OF_LEAF, OF_MIDDLE)
    assert sorted_of(OF_MIDDLE, longer).chain == (OF_LEAF, longer)
    assert sorted_of(OF_MIDDLE, longer).strangers == sorted_of(OF_MIDDLE, longer).crossed == ()
    assert not sorted_of(OF_MIDDLE).is_whole
    assert sorted_of(OF_MIDDLE, OF_ROOT).is_whole


def test_a_cross_signed_authority_is_served_in_both_ways() -> None:
    cross = OTHER_ROOT.signs(MIDDLE, AUTHORITY, days=(-1, 20))
    expired = STRANGER.signs(MIDDLE, AUTHORITY, days=(-9, -1))
    found = sorted_of(OF_MIDDLE, OF_ROOT, cross, expired)

    assert (found.chain, found.crossed, found.strangers) == ((OF_LEAF, OF_MIDDLE, OF_ROOT), (cross,), ())
    shorter = OTHER_ROOT.signs(MIDDLE, AUTHORITY, days=(-1, 10))
    assert sorted_of(OF_MIDDLE, OF_ROOT, shorter, cross).crossed == (cross,), "one of each issuer, the longest"


def test_a_certificate_of_the_first_itself_opens_no_other_way() -> None:
    again = OTHER_ROOT.signs(LEAF)

    assert sorted_of(OF_MIDDLE, again).crossed == sorted_of(OF_MIDDLE, again).strangers == ()


def test_a_renewal_by_another_authority_may_stand_beside_the_certificate_before_it() -> None:
    before = OTHER_ROOT.signs(LEAF, days=(-1, 10))

    for public in ([before, OF_LEAF], [OF_LEAF, before]):
        found = read(public, [OF_MIDDLE, OF_ROOT])
        assert (found.certificate, found.authorities, found.left_out) == (OF_LEAF, (OF_MIDDLE, OF_ROOT), ())


def test_a_root_of_its_own_is_served_where_the_root_that_cross_signed_it_was_not_sent() -> None:
    own = MIDDLE.signs(MIDDLE, AUTHORITY)
    cross = ROOT.signs(MIDDLE, AUTHORITY)

    assert sorted_of(own, cross).chain == (OF_LEAF, own)
    assert sorted_of(own, cross).crossed == (cross,)
    assert sorted_of(own, cross, OF_ROOT).chain == (OF_LEAF, cross, OF_ROOT)
    assert sorted_of(own, cross, OF_ROOT).crossed == ()
    expired = ROOT.signs(ROOT, AUTHORITY, days=(-9, -1))
    assert sorted_of(own, cross, expired, OF_STRANGER).chain == (OF_LEAF, own)
    dead = MIDDLE.signs(MIDDLE, AUTHORITY, days=(-9, -1))
    assert sorted_of(dead, cross).chain == (OF_LEAF, cross)


@pytest.mark.timeout(20)
def test_authorities_that_signed_each_other_make_no_endless_chain() -> None:
    back = MIDDLE.signs(ROOT, AUTHORITY)

    assert sorted_of(OF_MIDDLE, back).chain == (OF_LEAF, OF_MIDDLE, back)
    assert read([OF_LEAF], [back, OF_MIDDLE]).authorities == (OF_MIDDLE, back)

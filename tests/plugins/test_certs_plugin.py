"""TLS certificates: what is accepted, and what the job leaves on the appliance. The witness is `openssl`."""

from __future__ import annotations

import ssl
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError
from jidoteki.plugins import certs as plugin
from jidoteki.plugins.certs import bundle, certificates, checking, jobs
from jidoteki.plugins.certs.pem_texts import CertificateError
from jidoteki.plugins.certs.validators import PARAMETERS, pem_text
from jidoteki.testing import FakeJob, FakeRequest

AUTHORITY = "basicConstraints=critical,CA:TRUE"
NEXT_YEAR = f"{time.gmtime().tm_year + 1}0101000000Z"
SERVER = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:appliance.example"


def openssl(*arguments: str | Path, given: str = "") -> str:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, text=True, check=True).stdout


@dataclass
class Pki:
    """Keys and certificates made by `openssl` in a directory."""

    directory: Path

    def key(self, name: str, *how: str) -> str:
        how = how or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        path = self.directory / f"{name}.key"
        path.write_text(openssl("genpkey", *how))
        return path.read_text()

    def self_signed(self, name: str, *how: str, digest: str = "-sha256") -> str:
        path = self.directory / f"{name}.key"
        return openssl("req", "-x509", "-key", path, "-subj", f"/CN={name}", "-days", "30", digest, *how)

    def signed(
        self, name: str, issuer: str, issuer_pem: str, extensions: str, *how: str, digest: str = "-sha256"
    ) -> str:
        request = openssl("req", "-new", "-key", self.directory / f"{name}.key", "-subj", f"/CN={name}")
        (self.directory / "ext").write_text(extensions)
        (self.directory / "issuer.pem").write_text(issuer_pem)
        signer = ("-CA", self.directory / "issuer.pem", "-CAkey", self.directory / f"{issuer}.key", "-set_serial", "7")
        days = () if how else ("-days", "30")
        return openssl("x509", "-req", *signer, "-extfile", self.directory / "ext", digest, *days, *how, given=request)


@dataclass
class Chain:
    pki: Pki
    key: str
    leaf: str
    intermediate: str
    root: str


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def chain(pki: Pki) -> Chain:
    key = pki.key("leaf")
    pki.key("intermediate")
    pki.key("root", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    root = pki.self_signed("root")
    intermediate = pki.signed("intermediate", "root", root, AUTHORITY)
    return Chain(pki, key, pki.signed("leaf", "intermediate", intermediate, SERVER), intermediate, root)


@pytest.fixture(scope="module")
def self_signed(pki: Pki) -> dict[str, str]:
    key = pki.key("alone")
    return {"private": key, "public": pki.self_signed("alone")}


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Appliance:
    monkeypatch.delenv("JIDO_ADMIN_PATH", raising=False)
    appliance = Appliance(tmp_path / "root")
    appliance.prepare()
    return appliance


@pytest.fixture
def tls(appliance: Appliance) -> jobs.TlsFiles:
    return jobs.TlsFiles(appliance.root / "usr/local/etc/pki/tls")


def job_with(appliance: Appliance, **values: str) -> FakeJob:
    appliance.tmp.mkdir(exist_ok=True)
    return FakeJob(appliance, values, appliance.tmp)


def perform(job: FakeJob) -> None:
    jobs.check(job)
    jobs.run(job)


def refusal(appliance: Appliance, **values: str) -> str:
    job = job_with(appliance, **values)
    with pytest.raises(JobError) as failure:
        jobs.check(job)
    assert job.lines[-2:] == [failure.value.message, "Invalid or missing TLS certificate files"]
    assert list(appliance.tmp.iterdir()) == []
    return failure.value.message


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_self_signed_certificate_is_installed(
    appliance: Appliance, tls: jobs.TlsFiles, self_signed: dict[str, str]
) -> None:
    job = job_with(appliance, **self_signed)

    perform(job)

    assert (job.lines[0], job.lines[-1]) == (
        "Validating and adding TLS certificates",
        "Add TLS certificates successful",
    )
    assert tls.key.read_text() == self_signed["private"]
    assert tls.certificate.read_text() == self_signed["public"]
    assert not tls.authorities.exists()
    assert tls.served.read_text() == self_signed["private"] + self_signed["public"]
    assert not tls.trusted.exists()


def test_an_installed_chain_verifies_with_openssl(appliance: Appliance, tls: jobs.TlsFiles, chain: Chain) -> None:
    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate + chain.root))

    assert openssl("verify", "-CAfile", tls.authorities, tls.certificate).strip().endswith("OK")
    assert openssl("verify", "-CAfile", tls.trusted, tls.certificate).strip().endswith("OK")
    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate + chain.root
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.served)


def test_the_key_is_closed_and_the_certificates_are_open_to_other_users(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain
) -> None:
    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate))

    assert [mode(path) for path in (tls.key.parent, tls.key, tls.served)] == [0o700, 0o600, 0o600]
    assert [mode(path) for path in (tls.certificate, tls.authorities, tls.trusted)] == [0o644, 0o644, 0o644]


def test_a_chain_may_come_in_public_and_again_in_ca(appliance: Appliance, tls: jobs.TlsFiles, chain: Chain) -> None:
    perform(job_with(appliance, public=chain.leaf + chain.intermediate, private=chain.key, ca=chain.intermediate))

    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate
    assert tls.authorities.read_text() == chain.intermediate


def test_an_earlier_authority_goes_with_its_certificate(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str]
) -> None:
    tls.directory.mkdir(parents=True)
    tls.trusted.write_bytes(b"# system \xff\nsystem authorities\n")

    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate))
    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate))
    with_authority = tls.trusted.read_bytes()
    perform(job_with(appliance, **self_signed))

    assert with_authority.startswith(b"# system \xff\nsystem authorities\n")
    assert with_authority.count(chain.intermediate.encode()) == 1
    assert tls.trusted.read_bytes() == b"# system \xff\nsystem authorities\n"
    assert not tls.authorities.exists()


def test_authorities_that_are_there_stay_with_a_certificate_that_they_signed(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain
) -> None:
    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate + chain.root))
    before = [tls.authorities.read_bytes(), tls.trusted.read_bytes()]

    perform(job_with(appliance, public=chain.leaf, private=chain.key))

    assert [tls.authorities.read_bytes(), tls.trusted.read_bytes()] == before
    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate + chain.root


@pytest.mark.parametrize("there", ["another", "empty", "the certificate itself", "no certificate"])
def test_authorities_that_did_not_sign_the_new_certificate_go(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str], there: str
) -> None:
    tls.authorities.parent.mkdir(parents=True)
    held = {"another": self_signed["public"], "the certificate itself": chain.leaf, "empty": ""}
    tls.authorities.write_text(held.get(there, "garbage"))

    perform(job_with(appliance, public=chain.leaf, private=chain.key))

    assert not tls.authorities.exists()
    assert tls.certificate.read_text() == chain.leaf


@pytest.mark.parametrize(
    "how",
    [
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"),
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
    ],
    ids=["rsa-2048", "rsa-4096", "p-384", "p-521"],
)
def test_an_allowed_kind_of_key_is_installed_in_both_formats(
    appliance: Appliance, tls: jobs.TlsFiles, pki: Pki, how: tuple[str, ...]
) -> None:
    modern = pki.key("kind", *how)
    public = pki.self_signed("kind")
    traditional = openssl("pkey", "-traditional", given=modern)

    perform(job_with(appliance, public=public, private=modern))
    first = tls.key.read_text()
    perform(job_with(appliance, public=public, private=traditional))

    assert (first, tls.key.read_text()) == (modern, traditional)
    assert "BEGIN PRIVATE" in modern
    assert "BEGIN PRIVATE" not in traditional


def test_the_parameters_that_openssl_writes_before_an_ec_key_are_tolerated(appliance: Appliance, pki: Pki) -> None:
    private = openssl("ecparam", "-name", "prime256v1", "-genkey")
    (pki.directory / "param.key").write_text(private)

    jobs.check(job_with(appliance, public=pki.self_signed("param"), private=private))

    assert private.startswith("-----BEGIN EC PARAMETERS-----")


def test_windows_line_ends_and_a_byte_order_mark_are_normalised(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain
) -> None:
    sent = {"public": chain.leaf, "private": chain.key, "ca": chain.intermediate}
    windows = {name: pem_text(text.replace("\n", "\r\n").encode("utf-8-sig")) for name, text in sent.items()}

    perform(job_with(appliance, **windows))

    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate


def test_a_key_pasted_into_the_public_file_is_not_published(
    appliance: Appliance, tls: jobs.TlsFiles, self_signed: dict[str, str]
) -> None:
    both = self_signed["private"] + "Bag Attributes: none\n" + self_signed["public"]

    perform(job_with(appliance, public=both, private=both))

    assert tls.certificate.read_text() == self_signed["public"]
    assert tls.key.read_text() == self_signed["private"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_an_authority_that_was_renewed_the_valid_certificate_is_served(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, order: tuple[int, int]
) -> None:
    expired = aged(chain, "-not_before", "20200101000000Z", "-not_after", "20210101000000Z", of="intermediate")
    sent = [(expired, chain.intermediate)[number] for number in order]

    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca="".join(sent) + chain.root))

    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate + chain.root


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    "until", ["20210101000000Z", f"{time.gmtime().tm_year + 1}0101000000Z"], ids=["over", "earlier"]
)
def test_of_a_certificate_that_was_renewed_with_its_key_the_one_that_lasts_longest_is_served(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, order: tuple[int, int], until: str
) -> None:
    old = aged(chain, "-not_before", "20200101000000Z", "-not_after", until)
    new = aged(chain, "-not_before", "20200101000000Z", "-not_after", "20900101000000Z")
    sent = [(old, new)[number] for number in order]

    perform(job_with(appliance, public="".join(sent), private=chain.key, ca=chain.intermediate))

    assert tls.served.read_text() == chain.key + new + chain.intermediate


def test_the_certificate_of_an_authority_goes_before_a_self_signed_one_of_the_same_key(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain
) -> None:
    alone = openssl("req", "-x509", "-key", chain.pki.directory / "leaf.key", "-subj", "/CN=leaf", "-days", "9000")

    perform(job_with(appliance, public=alone + chain.leaf, private=chain.key, ca=chain.intermediate))

    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate


def test_an_expired_certificate_of_a_cross_signed_authority_is_not_served(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, pki: Pki
) -> None:
    """The root that everybody knows by now signed nothing that is valid, its successor is its own authority."""
    crossed = aged(chain, "-not_before", "20200101000000Z", "-not_after", "20210101000000Z", of="root", by="old")
    above = chain.intermediate + crossed + chain.root + openssl("x509", "-in", pki.directory / "old.pem")

    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca=above))

    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate + chain.root


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_certificates_of_a_cross_signed_intermediate_are_served(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, pki: Pki, order: tuple[int, int]
) -> None:
    pki.key("second")
    second = pki.self_signed("second")
    crossed = pki.signed("intermediate", "second", second, AUTHORITY)
    sent = [(chain.intermediate, crossed)[number] for number in order]

    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca="".join(sent)))

    served = tls.served.read_text()
    assert sorted(served.split("-----END CERTIFICATE-----\n")[1:3]) == sorted(
        each.removesuffix("-----END CERTIFICATE-----\n") for each in sent
    )


def test_the_name_of_a_file_in_its_place_is_told(appliance: Appliance, chain: Chain) -> None:
    message = refusal(appliance, public="good.pem", private=chain.key)

    assert message.endswith("it looks like the name of a file instead of its content: with curl, write -F public=@FILE")


def test_a_root_that_is_not_above_the_certificate_is_left_out_with_a_warning(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str]
) -> None:
    job = job_with(
        appliance, public=chain.leaf, private=chain.key, ca=self_signed["public"] + chain.root + chain.intermediate
    )

    perform(job)

    assert "Warning: the certificate CN=alone is not above the certificate CN=leaf and is left out" in job.lines
    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate + chain.root


@pytest.mark.parametrize("with_root", [True, False])
@pytest.mark.parametrize("order", ["spare first", "spare last"])
def test_the_other_intermediate_of_an_authority_is_left_out_with_a_warning(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, with_root: bool, order: str
) -> None:
    chain.pki.key("spare")
    spare = chain.pki.signed("spare", "root", chain.root, AUTHORITY)
    ca = spare + chain.intermediate if order == "spare first" else chain.intermediate + spare
    root = chain.root if with_root else ""
    job = job_with(appliance, public=chain.leaf, private=chain.key, ca=ca + root)

    perform(job)

    assert "Warning: the certificate CN=spare is not above the certificate CN=leaf and is left out" in job.lines
    ends = "the chain ends with the certificate CN=intermediate: clients that lack the authority above it, CN=root, "
    assert any(ends in line for line in job.lines) is not with_root
    assert tls.served.read_text() == chain.key + chain.leaf + chain.intermediate + root


def test_an_expired_certificate_is_installed_with_a_warning(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain
) -> None:
    times = ("-not_before", "20200101000000Z", "-not_after", "20210101000000Z")
    expired = aged(chain, *times)
    job = job_with(appliance, public=expired, private=chain.key, ca=chain.intermediate)

    perform(job)

    assert "Warning: the certificate CN=leaf expired on 2021-01-01" in job.lines
    assert tls.certificate.read_text() == expired


def test_a_certificate_of_the_future_is_installed_with_a_warning(appliance: Appliance, chain: Chain) -> None:
    future = aged(chain, "-not_before", "20900101000000Z", "-not_after", "20910101000000Z")
    job = job_with(appliance, public=future, private=chain.key, ca=chain.intermediate)

    jobs.check(job)

    assert "Warning: the certificate CN=leaf is not valid before 2090-01-01" in job.lines


def aged(chain: Chain, *times: str, of: str = "leaf", by: str = "") -> str:
    """A certificate for other times; `openssl ca` is what can make one in every version."""
    at = {name.replace("not_before", "startdate").replace("not_after", "enddate"): time for name, time in
          zip(times[::2], times[1::2], strict=True)}  # fmt: skip
    base = chain.pki.directory
    by = by or {"leaf": "intermediate", "intermediate": "root"}[of]
    if by == "old":
        chain.pki.key("old")
    signers = {"intermediate": chain.intermediate, "root": chain.root, "old": ""}
    extensions = "subjectAltName=DNS:appliance.example" if of == "leaf" else AUTHORITY
    (base / "index.txt").write_text("")
    (base / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index.txt\nnew_certs_dir={base}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\nx509_extensions=server\n[p]\ncommonName=supplied\n"
        f"[server]\n{extensions}\n"
    )
    (base / f"{by}.pem").write_text(signers[by] or chain.pki.self_signed(by))
    (base / f"{of}.csr").write_text(openssl("req", "-new", "-key", base / f"{of}.key", "-subj", f"/CN={of}"))
    signer = ("-cert", base / f"{by}.pem", "-keyfile", base / f"{by}.key", "-in", base / f"{of}.csr")
    dates = [word for pair in at.items() for word in pair]
    return openssl("ca", "-batch", "-notext", "-config", base / "ca.cnf", *signer, *dates)


def test_an_encrypted_key_is_refused(appliance: Appliance, self_signed: dict[str, str]) -> None:
    encrypted = openssl("pkey", "-aes256", "-passout", "pass:secret", given=self_signed["private"])
    traditional = openssl("ec", "-aes256", "-passout", "pass:secret", given=self_signed["private"])
    expected = "The private key is encrypted: remove its passphrase with 'openssl pkey -in FILE -out NEW'"

    assert refusal(appliance, public=self_signed["public"], private=encrypted) == expected
    assert refusal(appliance, public=self_signed["public"], private=traditional) == expected


def test_a_key_of_another_certificate_is_refused(
    appliance: Appliance, chain: Chain, self_signed: dict[str, str]
) -> None:
    message = refusal(appliance, public=chain.leaf, private=self_signed["private"])

    assert message == "The private key does not belong to the certificate in public"


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "RSA of 1024 bits"),
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4104"), "RSA of 4104 bits"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "EC on secp256k1"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"), "EC on secp224r1"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP512r1"), "EC on brainpoolP512r1"),
        (("-algorithm", "ED25519"), "Ed25519"),
    ],
    ids=["rsa-1024", "rsa-4104", "secp256k1", "p-224", "brainpool", "ed25519"],
)
def test_a_kind_of_key_that_is_not_allowed_is_named(
    appliance: Appliance, pki: Pki, how: tuple[str, ...], kind: str
) -> None:
    private = pki.key("weak", *how)

    message = refusal(appliance, public=pki.self_signed("weak"), private=private)

    assert message == f"The private key is {kind}: {bundle.ALLOWED_KEYS}"


def huge_key() -> rsa.RSAPrivateKey:
    """A key of 16,384 bits whose factors are no primes: nobody can wait for those, and nobody shall look at them."""
    p, q, e = (1 << 8192) - 5, (1 << 8192) - 3, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def test_a_key_of_16384_bits_is_refused_at_once(appliance: Appliance, self_signed: dict[str, str]) -> None:
    private = huge_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    began = time.process_time()

    message = refusal(appliance, public=self_signed["public"], private=private.decode())

    assert message == f"The private key is RSA of 16384 bits: {bundle.ALLOWED_KEYS}"
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4104"), "RSA of 4104 bits"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "EC on secp256k1"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"), "EC on brainpoolP256r1"),
    ],
    ids=["rsa", "secp256k1", "brainpool"],
)
@pytest.mark.parametrize("where", ["public", "ca"])
def test_an_authority_with_a_key_that_is_not_allowed_is_named(
    appliance: Appliance, pki: Pki, how: tuple[str, ...], kind: str, where: str
) -> None:
    key = pki.key("server")
    pki.key("authority", *how)
    authority = pki.self_signed("authority")
    leaf = pki.signed("server", "authority", authority, SERVER)

    given = {"public": leaf + authority} if where == "public" else {"public": leaf, "ca": authority}
    message = refusal(appliance, private=key, **given)

    assert message == f"The key of the certificate CN=authority is {kind}: {bundle.ALLOWED_KEYS}"


def test_an_authority_with_an_edwards_key_is_taken(appliance: Appliance, tls: jobs.TlsFiles, pki: Pki) -> None:
    key = pki.key("server")
    pki.key("edwards", "-algorithm", "ED25519")
    authority = openssl("req", "-x509", "-key", pki.directory / "edwards.key", "-subj", "/CN=edwards", "-days", "30")

    perform(job_with(appliance, public=pki.signed("server", "edwards", authority, SERVER), private=key, ca=authority))

    assert tls.served.read_text().count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (("leaf", "root"), "Certificate 2 of the chain (the certificate CN=root) did not sign certificate 1"),
        (("root", "leaf"), "Certificate 2 of the chain (the certificate CN=root) did not sign certificate 1"),
    ],
)
def test_a_chain_that_lacks_one_between_is_refused(
    appliance: Appliance, chain: Chain, order: tuple[str, ...], reason: str
) -> None:
    public = "".join(getattr(chain, name) for name in order)

    message = refusal(appliance, public=public, private=chain.key)

    assert message.startswith(reason)
    assert message.endswith(": its issuer, CN=intermediate, is missing; add that one's certificate to ca")


def test_an_issuer_that_was_sent_with_another_key_is_told(appliance: Appliance, chain: Chain, pki: Pki) -> None:
    other = Pki(appliance.root)
    other.key("intermediate")

    message = refusal(appliance, public=chain.leaf, private=chain.key, ca=other.self_signed("intermediate"))

    assert message.endswith(": it has another key than the issuer of the same name, which is missing; add that to ca")


@pytest.mark.parametrize(
    "order",
    [("leaf", "root", "intermediate"), ("intermediate", "leaf"), ("root", "intermediate", "leaf"),
     ("leaf", "intermediate", "leaf", "root")],
)  # fmt: skip
def test_a_chain_in_any_order_is_sorted(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, order: tuple[str, ...]
) -> None:
    perform(job_with(appliance, public="".join(getattr(chain, name) for name in order), private=chain.key))

    served = [getattr(chain, name) for name in ("leaf", "intermediate", "root") if name in order]
    assert tls.served.read_text().endswith("".join(served))


USAGES = {
    "keyUsage=keyEncipherment": "lacks digitalSignature",
    "keyUsage=critical,keyCertSign": "lacks digitalSignature",
    "extendedKeyUsage=clientAuth": "lacks serverAuth",
    "extendedKeyUsage=anyExtendedKeyUsage": "lacks serverAuth",
}


@pytest.mark.parametrize("usage", USAGES)
def test_a_certificate_that_clients_do_not_take_for_a_server_is_refused(
    appliance: Appliance, chain: Chain, usage: str
) -> None:
    leaf = chain.pki.signed("leaf", "intermediate", chain.intermediate, f"{SERVER}\n{usage}")

    assert USAGES[usage] in refusal(appliance, public=leaf, private=chain.key, ca=chain.intermediate)


@pytest.mark.parametrize("usage", ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"])
def test_a_certificate_for_servers_is_installed(appliance: Appliance, chain: Chain, usage: str) -> None:
    leaf = chain.pki.signed("leaf", "intermediate", chain.intermediate, f"{SERVER}\n{usage}")

    perform(job_with(appliance, public=leaf, private=chain.key, ca=chain.intermediate))


def test_a_weak_signature_of_its_own_is_refused_on_a_certificate_that_is_served(appliance: Appliance, pki: Pki) -> None:
    key = pki.key("weak")

    assert "too weak" in refusal(appliance, public=pki.self_signed("weak", digest="-sha1"), private=key)


def test_what_authorities_mail_is_read_as_openssl_reads_it(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, tmp_path: Path
) -> None:
    (tmp_path / "leaf.pem").write_text(chain.leaf)
    trusted = openssl("x509", "-in", tmp_path / "leaf.pem", "-trustout", "-addtrust", "serverAuth")
    for public in (
        chain.leaf.replace("\n", " \t\r\n"),
        trusted,
        chain.leaf.replace("CERTIFICATE", "X509 CERTIFICATE"),
        f"subject=CN = leaf\nBag Attributes: <No Attributes>\n{chain.leaf}",
    ):
        perform(job_with(appliance, public=public, private=chain.key.replace("\n", "  \n")))

        assert tls.certificate.read_text() == chain.leaf


def switched_off(pem: str, mark: str) -> str:
    return "".join(f"{mark}{line}" for line in pem.splitlines(keepends=True))


@pytest.mark.parametrize("mark", ["#", "# ", ";", "//", "> "])
def test_what_is_commented_out_is_not_read(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str], mark: str
) -> None:
    certificate, key = (switched_off(self_signed[name], mark) for name in ("public", "private"))

    perform(job_with(appliance, public=certificate + chain.leaf + certificate, private=key + chain.key + key))

    assert tls.served.read_text() == chain.key + chain.leaf


@pytest.mark.parametrize("end", ["\r\r\n", "\r\r\r\n", "\r"])
def test_lines_that_were_converted_twice_are_read(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, end: str
) -> None:
    perform(job_with(appliance, public=chain.leaf.replace("\n", end), private=chain.key.replace("\n", end)))

    assert tls.served.read_text() == chain.key + chain.leaf


def test_an_rsa_key_of_more_than_two_primes_is_named(appliance: Appliance, pki: Pki) -> None:
    key = pki.key("primes", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt", "rsa_keygen_primes:3")

    for private in (key, openssl("pkey", "-traditional", given=key)):
        message = refusal(appliance, public=pki.self_signed("primes"), private=private)
        assert message.startswith("The private key is RSA of more than two primes")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"), "is for RSASSA-PSS alone"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "is a compressed point"),
    ],
)
@pytest.mark.parametrize("authority", [False, True])
def test_a_form_of_key_that_many_clients_refuse_is_taken_with_a_warning(
    appliance: Appliance, chain: Chain, pki: Pki, how: tuple[str, ...], told: str, authority: bool
) -> None:
    private = pki.key("odd", *how)
    if "compressed" in told:
        private = openssl("ec", "-conv_form", "compressed", given=private)
        (pki.directory / "odd.key").write_text(private)
    odd = pki.signed("odd", "root", chain.root, AUTHORITY if authority else SERVER)
    leaf = pki.signed("leaf", "odd", odd, SERVER)
    job = job_with(
        appliance,
        public=leaf if authority else odd,
        private=chain.key if authority else private,
        ca=odd + chain.root if authority else chain.root,
    )

    perform(job)

    assert [line for line in job.lines if line.startswith(f"Warning: the key of the certificate CN=odd {told}")]
    assert job.lines[-1] == "Add TLS certificates successful"


def test_a_key_that_spells_out_its_curve_is_named_as_that(appliance: Appliance, tmp_path: Path) -> None:
    private = openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit")
    (tmp_path / "key").write_text(private)
    names = ("-subj", "/CN=odd", "-addext", "subjectAltName=DNS:odd.example")
    job = job_with(appliance, public=openssl("req", "-x509", "-key", str(tmp_path / "key"), *names), private=private)

    perform(job)

    assert [line for line in job.lines if "spells out its curve" in line and "-param_enc explicit" in line]
    assert not [line for line in job.lines if "compressed" in line]


@pytest.mark.parametrize(
    ("extensions", "days", "told"),
    [
        ("basicConstraints=critical,CA:TRUE", 30, "is an authority's (CA:TRUE), which Firefox refuses as a server's"),
        ("basicConstraints=CA:FALSE", 826, "is valid for 826 days: Apple's systems refuse more than 825"),
        ("tlsfeature=status_request", 30, "demands OCSP stapling (must-staple), which this service does not do"),
        ("basicConstraints=CA:FALSE", 825, None),
    ],
)
def test_a_certificate_that_some_clients_refuse_is_taken_with_a_warning(
    appliance: Appliance, chain: Chain, extensions: str, days: int, told: str | None
) -> None:
    names = "subjectAltName=DNS:appliance.example"
    how = ("-days", str(days))
    leaf = chain.pki.signed("leaf", "intermediate", chain.intermediate, f"{extensions}\n{names}", *how)
    job = job_with(appliance, public=leaf, private=chain.key, ca=chain.intermediate + chain.root)

    perform(job)

    warnings = [line for line in job.lines if line.startswith("Warning:")]
    assert [each.partition(": clients such")[0] for each in warnings] == (
        [f"Warning: the certificate CN=leaf {told}"] if told else []
    )


def test_a_usual_key_is_no_reason_for_a_warning(appliance: Appliance, chain: Chain) -> None:
    job = job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate + chain.root)

    perform(job)

    assert not [line for line in job.lines if line.startswith("Warning:")]


def test_what_is_no_pem_is_told_by_its_name(appliance: Appliance, chain: Chain, tmp_path: Path) -> None:
    leaf, key = tmp_path / "leaf.pem", tmp_path / "leaf.key"
    leaf.write_text(chain.leaf)
    key.write_text(chain.key)
    run = subprocess.run
    pkcs12 = run(["openssl", "pkcs12", "-export", "-in", leaf, "-inkey", key, "-passout", "pass:"],
                 check=True, capture_output=True).stdout  # fmt: skip
    der = run(["openssl", "x509", "-in", leaf, "-outform", "der"], check=True, capture_output=True).stdout
    said = {
        "PKCS#12": pkcs12.decode("latin-1"),
        "DER": der.decode("latin-1"),
        "PKCS#7": openssl("crl2pkcs7", "-nocrl", "-certfile", leaf),
        "UTF-16": chain.leaf.encode("utf-16").decode("latin-1"),
    }
    for kind, content in said.items():
        assert f"public is {'a text in ' if kind == 'UTF-16' else ''}{kind}" in refusal(
            appliance, public=content, private=chain.key
        )


def test_an_intermediate_that_is_missing_is_told(appliance: Appliance, chain: Chain) -> None:
    job = job_with(appliance, public=chain.leaf, private=chain.key)

    perform(job)

    assert any("no authority was sent for the certificate CN=leaf" in line for line in job.lines)


def test_an_authority_that_did_not_sign_the_certificate_is_refused(
    appliance: Appliance, chain: Chain, self_signed: dict[str, str]
) -> None:
    message = refusal(appliance, public=chain.leaf, private=chain.key, ca=self_signed["public"])

    assert "(the certificate CN=alone) did not sign certificate 1 (the certificate CN=leaf)" in message


@pytest.mark.parametrize("extensions", [SERVER, f"{AUTHORITY}\nkeyUsage=digitalSignature"], ids=["no-ca", "key-usage"])
def test_a_certificate_signed_by_something_that_may_not_sign_is_refused(
    appliance: Appliance, chain: Chain, extensions: str
) -> None:
    chain.pki.key("server")
    server = chain.pki.signed("server", "intermediate", chain.intermediate, extensions)
    below = chain.pki.signed("leaf", "server", server, SERVER)

    message = refusal(appliance, public=below, private=chain.key, ca=server)

    assert message == "Certificate 2 of the chain (the certificate CN=server) is not the certificate of an authority"


@pytest.mark.parametrize("digest", ["-sha1", "-md5"])
def test_a_weak_signature_is_refused(appliance: Appliance, chain: Chain, digest: str) -> None:
    weak = chain.pki.signed("leaf", "root", chain.root, SERVER, digest=digest)

    message = refusal(appliance, public=weak, private=chain.key)

    assert message.startswith("The signature of the certificate CN=leaf is too weak")


def test_the_signature_of_a_root_may_be_weak_because_nobody_relies_on_it(appliance: Appliance, chain: Chain) -> None:
    root = chain.pki.self_signed("root", digest="-sha1")

    jobs.check(job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate + root))

    assert "sha1With" in openssl("x509", "-noout", "-text", given=root)


def test_a_chain_that_openssl_itself_would_not_serve_is_refused(appliance: Appliance, chain: Chain) -> None:
    chain.pki.key("small", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    small = chain.pki.self_signed("small")
    below = chain.pki.signed("leaf", "small", small, SERVER)

    message = refusal(appliance, public=below, private=chain.key, ca=small)

    assert message.startswith("OpenSSL cannot serve this key and certificate: ")
    assert "TOO_SMALL" in message


def joined(pem: str, by: str) -> str:
    return by.join(pem.splitlines())


DAMAGED: dict[str, tuple[Callable[[str], str], str]] = {
    "cut off at the end": (lambda pem: pem[:-40], "cut off, the line -----END {} is missing"),
    "cut off in the last line": (lambda pem: pem[:-4], "cut off, the line -----END {} is missing"),
    "cut off at the beginning": (lambda pem: pem.partition("\n")[2], "cut off, the line -----BEGIN {} is missing"),
    "in one line": (lambda pem: joined(pem, ""), "its line ends are lost, -----BEGIN {} and -----END {} must be lines"),
    "with spaces": (
        lambda pem: joined(pem, " "),
        "its line ends are lost, -----BEGIN {} and -----END {} must be lines",
    ),
    "with backslashes": (lambda pem: joined(pem, r"\n"), "line ends are lost, -----BEGIN {} and -----END {} must be"),
}


@pytest.mark.parametrize("parameter", ["public", "private", "ca"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_what_a_paste_has_lost_is_told(appliance: Appliance, chain: Chain, parameter: str, damage: str) -> None:
    sent = {"public": chain.leaf, "private": chain.key, "ca": chain.intermediate}
    damaged, told = DAMAGED[damage]

    message = refusal(appliance, **{**sent, parameter: damaged(sent[parameter])})

    kind = "PRIVATE KEY-----" if parameter == "private" else "CERTIFICATE-----"
    assert told.replace("{}", kind) in message
    assert message.endswith(f"with curl as -F {parameter}=@FILE")


@pytest.mark.parametrize("before", [True, False])
def test_a_certificate_of_several_that_is_cut_off_is_told(appliance: Appliance, chain: Chain, before: bool) -> None:
    cut = chain.intermediate[:-40]
    public = f"{cut}\n{chain.leaf}" if before else chain.leaf + cut

    message = refusal(appliance, public=public, private=chain.key)

    assert message.startswith("public holds no PEM that is whole: it is cut off, the line -----END CERTIFICATE-----")


def test_words_about_the_lines_of_pem_are_no_pem(appliance: Appliance, tls: jobs.TlsFiles, chain: Chain) -> None:
    mail = "Copy all from\n-----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, with both:\n"

    perform(job_with(appliance, public=f"{mail}{chain.leaf}-----END CERTIFICATE-----\n", private=chain.key))

    assert tls.certificate.read_text() == chain.leaf


@pytest.mark.parametrize("form", ["der", "pem", "cms"])
def test_the_command_told_for_pkcs_7_makes_what_is_taken(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, tmp_path: Path, form: str
) -> None:
    (tmp_path / "leaf").write_text(chain.leaf)
    made = tmp_path / "FILE"
    openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "leaf", "-out", made, "-outform", form.replace("cms", "pem"))
    made.write_bytes(made.read_bytes().replace(b"PKCS7", b"CMS" if form == "cms" else b"PKCS7"))

    message = refusal(appliance, public=made.read_bytes().decode("latin-1"), private=chain.key)
    command = message.partition("'")[2].removesuffix("'")
    done = subprocess.run(command, shell=True, cwd=tmp_path, stdin=made.open(), capture_output=True, check=True)
    perform(job_with(appliance, public=done.stdout.decode(), private=chain.key))

    assert tls.certificate.read_text() == chain.leaf


@pytest.mark.parametrize("parameter", ["public", "private", "ca"])
@pytest.mark.parametrize("content", ["hello", "\xff\xfe\x00", "-----BEGIN CERTIFICATE-----\n"])
def test_what_is_not_pem_is_refused_by_name(appliance: Appliance, chain: Chain, parameter: str, content: str) -> None:
    sent = {"public": chain.leaf, "private": chain.key, "ca": chain.intermediate, parameter: content}

    assert refusal(appliance, **sent).startswith(f"{parameter} holds no PEM")


def test_a_damaged_certificate_or_key_is_refused(appliance: Appliance, chain: Chain) -> None:
    lines = chain.leaf.splitlines(keepends=True)
    cut_certificate = "".join(lines[:3] + lines[-1:])
    cut_key = "".join(chain.key.splitlines(keepends=True)[::2])

    assert refusal(appliance, public=cut_certificate, private=chain.key).startswith(
        "Certificate 1 in public is damaged"
    )
    assert refusal(appliance, public=chain.leaf, private=cut_key).startswith("The private key is damaged")


def test_two_keys_or_a_heap_of_certificates_are_refused(appliance: Appliance, chain: Chain) -> None:
    assert "exactly one" in refusal(appliance, public=chain.leaf, private=chain.key + chain.key)
    assert "at most 16" in refusal(appliance, public=chain.leaf, private=chain.key, ca=chain.root * 17)


def test_a_refused_certificate_changes_nothing(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str]
) -> None:
    perform(job_with(appliance, **self_signed))
    before = snapshot(tls)

    refusal(appliance, public=chain.leaf, private=self_signed["private"])

    assert snapshot(tls) == before


def test_a_failing_vendor_command_puts_the_old_certificate_back(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str]
) -> None:
    tls.directory.mkdir(parents=True)
    tls.trusted.write_text("system authorities\n")
    perform(job_with(appliance, **self_signed))
    before = snapshot(tls)
    job = job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate)
    job.exit_statuses = {"certs.sh": 1}

    with pytest.raises(JobError, match=r"certs\.sh failed"):
        perform(job)

    assert job.lines[-2:] == ["certs.sh failed with exit status 1", "Invalid or missing TLS certificate files"]

    assert snapshot(tls) == before


@pytest.mark.parametrize("held", ["key", "certificate", "served", "authorities"])
def test_a_file_that_cannot_be_replaced_leaves_all_of_the_old_certificate_in_use(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str], held: str
) -> None:
    perform(job_with(appliance, public=chain.leaf, private=chain.key, ca=chain.intermediate))
    before = snapshot(tls)
    path = getattr(tls, held)
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        pytest.skip("needs root, and a file system that can do this")
    job = job_with(appliance, **self_signed)

    try:
        with pytest.raises(JobError, match=r"cannot be stored: .*(immutable|not permitted)"):
            perform(job)
    finally:
        subprocess.run(["chattr", "-i", path], check=True)

    assert snapshot(tls) == before


def snapshot(tls: jobs.TlsFiles) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), mode(path)) for path in tls.directory.rglob("*") if path.is_file()}


def test_a_plugin_that_applies_certificates_replaces_the_vendor_command(
    appliance: Appliance, tls: jobs.TlsFiles, self_signed: dict[str, str]
) -> None:
    job = job_with(appliance, **self_signed)
    job.applied = True

    perform(job)

    assert job.calls == [("apply", "certs", tls.document())]
    assert job.calls[0][2]["pem"] == str(appliance.root / "usr/local/etc/pki/tls/enterprise.pem")


def test_the_vendor_command_is_called_where_no_plugin_applies(
    appliance: Appliance, self_signed: dict[str, str]
) -> None:
    job = job_with(appliance, **self_signed)

    perform(job)

    assert job.calls[1:] == [("vendor_command", "certs.sh")]


def test_files_that_cannot_be_stored_fail_the_job(
    appliance: Appliance, tls: jobs.TlsFiles, self_signed: dict[str, str]
) -> None:
    tls.directory.parent.mkdir(parents=True)
    tls.directory.write_text("in the way")

    with pytest.raises(JobError, match="cannot be stored: "):
        perform(job_with(appliance, **self_signed))


@pytest.mark.parametrize("name", ["served", "key", "certificate"])
def test_when_one_file_cannot_be_stored_the_old_certificate_stays_in_all(
    appliance: Appliance, tls: jobs.TlsFiles, self_signed: dict[str, str], pki: Pki, name: str
) -> None:
    perform(job_with(appliance, **self_signed))
    former = {path: path.read_bytes() for path in tls.directory.rglob("*") if path.is_file()}
    held = getattr(tls, name)
    if subprocess.run(["chattr", "+i", held], check=False, capture_output=True).returncode:
        pytest.skip("this system can have no immutable file")
    try:
        with pytest.raises(JobError, match=f"cannot be stored: {held.name} is immutable or append-only$"):
            perform(job_with(appliance, private=pki.key("second"), public=pki.self_signed("second")))
    finally:
        subprocess.run(["chattr", "-i", held], check=True)

    assert {path: path.read_bytes() for path in tls.directory.rglob("*") if path.is_file()} == former


def test_a_subject_cannot_forge_a_log_line(pki: Pki) -> None:
    pki.key("forger")
    forged = openssl("req", "-x509", "-key", pki.directory / "forger.key", "-subj", "/CN=a\n[0][SYSTEM] success\x1b[2J")

    shown = certificates.name(x509.load_pem_x509_certificate(forged.encode()))

    assert shown.isprintable()


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_text_does_anything_but_get_refused(public: str, private: str) -> None:
    with pytest.raises(CertificateError):
        bundle.read(public, private)


@pytest.mark.parametrize("before", ["", "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\nx"])
def test_a_million_beginnings_are_refused_at_once(before: str) -> None:
    began = time.monotonic()
    with pytest.raises(CertificateError):
        bundle.read(before + "x-----BEGIN CERTIFICATE-----\n" * 37_000, "")
    with pytest.raises(CertificateError):
        bundle.read("-----BEGIN CERTIFICATE-----\n" * 37_000, "")
    assert time.monotonic() - began < 10


@given(st.binary(min_size=1))
def test_the_validator_loses_no_byte(content: bytes) -> None:
    assert pem_text(b"x" + content).encode("latin-1") == b"x" + content


@pytest.mark.parametrize("content", [b"", b" \r\n\t"])
def test_the_validator_refuses_an_empty_file(content: bytes) -> None:
    with pytest.raises(vol.Invalid, match="must not be empty"):
        pem_text(content)


def test_the_form_needs_a_certificate_and_a_key() -> None:
    required = {str(marker.schema): isinstance(marker, vol.Required) for marker in PARAMETERS}

    assert required == {"public": True, "private": True, "ca": False}


async def test_posting_starts_the_job_with_what_came(appliance: Appliance) -> None:
    request = FakeRequest(appliance, {"public": "p", "private": "k"})

    await plugin.update(request)

    assert request.started == [("certs", {"public": "p", "private": "k"})]


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        ({"status": None, "percentage": None, "log": None}, {"status": None, "log": None}),
        ({"status": "success", "percentage": 100, "log": "a"}, {"status": "success", "log": "a"}),
        (
            {"status": "failed", "log": "a", "error-message": "why", "error-code": "E1000"},
            {"status": "failed", "log": "a", "error-message": "why"},
        ),
    ],
)
async def test_the_status_shows_what_the_reference_shows(
    appliance: Appliance, last: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert await plugin.status(FakeRequest(appliance, status=last)) == shown


def test_the_job_is_known_by_the_names_other_tools_read(appliance: Appliance) -> None:
    [job_type] = plugin.jidoteki_jobs(appliance)

    assert (job_type.name, job_type.log, job_type.status_files.status) == (
        "certs",
        "update_certs.log",
        "status_certs.txt",
    )
    assert [(each.method, each.path) for each in plugin.jidoteki_endpoints(appliance, {"confirm": 0})] == [
        ("POST", "/certs"),
        ("GET", "/certs"),
        ("POST", "/certs/confirm"),
    ]


def test_a_version_1_certificate_of_an_authority_is_refused_and_a_pinned_one_is_taken(
    appliance: Appliance, chain: Chain, pki: Pki, tmp_path: Path
) -> None:
    request = openssl("req", "-new", "-key", pki.directory / "leaf.key", "-subj", "/CN=leaf")
    (tmp_path / "root.pem").write_text(chain.root)
    signer = ("-CA", tmp_path / "root.pem", "-CAkey", pki.directory / "root.key", "-set_serial", "9")
    issued = openssl("x509", "-req", *signer, "-days", "30", given=request)
    alone = openssl("x509", "-req", "-signkey", pki.directory / "leaf.key", "-days", "30", given=request)
    assert {x509.load_pem_x509_certificate(each.encode()).version for each in (issued, alone)} == {x509.Version.v1}

    assert refusal(appliance, public=issued, private=chain.key, ca=chain.root) == (
        "Many TLS clients refuse the certificate CN=leaf: it is of version 1, and only an authority's may be. "
        "Have it signed again with a subjectAltName, which makes it version 3"
    )
    perform(job_with(appliance, public=alone, private=chain.key))


@pytest.mark.parametrize("root_first", [True, False])
def test_a_cross_signed_authority_is_served_so_that_clients_that_know_either_root_connect(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, pki: Pki, tmp_path: Path, root_first: bool
) -> None:
    for name in ("old-root", "new-root", "server"):
        pki.key(name)
    old, new = pki.self_signed("old-root"), pki.self_signed("new-root")
    crossed = pki.signed("new-root", "old-root", old, AUTHORITY)
    leaf = pki.signed("server", "new-root", new, SERVER)
    above = (new, crossed, old) if root_first else (crossed, new, old)

    key = (pki.directory / "server.key").read_text()
    perform(job_with(appliance, public=leaf, private=key, ca="".join(above)))

    served = tls.served.read_text()
    assert served.count("BEGIN CERTIFICATE") == 3
    (tmp_path / "served").write_text(served)
    for root in (old, new):
        (tmp_path / "anchor").write_text(root)
        openssl("verify", "-CAfile", tmp_path / "anchor", "-untrusted", tmp_path / "served", tmp_path / "served")


def test_extensions_that_only_openssl_reads_are_left_to_the_handshake(appliance: Appliance, pki: Pki) -> None:
    pki.key("latin")
    config = pki.directory / "latin.cnf"
    config.write_text(
        "[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\nCN=appliance.example\n"
        "[ext]\nsubjectAltName=DER:30:07:82:05:63:61:66:e9:2e\n"
    )
    job = job_with(
        appliance,
        public=openssl("req", "-x509", "-key", pki.directory / "latin.key", "-config", config, "-days", "30"),
        private=(pki.directory / "latin.key").read_text(),
    )

    perform(job)

    assert any("extensions that many TLS clients cannot read" in line for line in job.lines)


@pytest.mark.parametrize(
    ("private", "named"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nYQ==\n-----END OPENSSH PRIVATE KEY-----\n", "a key for SSH"),
        ("PuTTY-User-Key-File-3: ssh-rsa\n", "a key for SSH, of PuTTY"),
        ("\xfe\xed\xfe\xed\0\0\0\x02", "a key store of Java"),
        ("\x1f\x8b\x08\0", "an archive"),
        ("-----BEGIN PUBLIC KEY-----\nYQ==\n-----END PUBLIC KEY-----\n", "a public key"),
        ("-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n", "a certificate"),
    ],
)
def test_what_is_no_key_is_told_by_its_name(appliance: Appliance, chain: Chain, private: str, named: str) -> None:
    assert named in refusal(appliance, public=chain.leaf, private=private)


def test_a_request_in_place_of_a_certificate_is_told(appliance: Appliance, chain: Chain, pki: Pki) -> None:
    request = openssl("req", "-new", "-key", pki.directory / "leaf.key", "-subj", "/CN=leaf")

    assert "a request: send what the authority made of it" in refusal(appliance, public=request, private=chain.key)


def test_an_indented_paste_with_hard_spaces_is_read(appliance: Appliance, tls: jobs.TlsFiles, chain: Chain) -> None:
    pasted = "".join(f"    {line}\xc2\xa0\n" for line in chain.leaf.splitlines())

    perform(job_with(appliance, public=pasted, private=chain.key))

    assert tls.certificate.read_text() == chain.leaf


@pytest.mark.parametrize("usage", USAGES)
def test_a_certificate_in_force_that_clients_refuse_is_found(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, usage: str
) -> None:
    leaf = chain.pki.signed("leaf", "intermediate", chain.intermediate, f"{SERVER}\n{usage}")
    tls.served.parent.mkdir(parents=True, exist_ok=True)
    tls.served.write_text(chain.key + leaf + chain.intermediate)

    [finding] = checking.check(appliance)

    assert finding.level == "error"
    assert USAGES[usage] in finding.message


def test_nothing_is_found_of_a_certificate_that_clients_take(
    appliance: Appliance, tls: jobs.TlsFiles, chain: Chain, self_signed: dict[str, str]
) -> None:
    tls.served.parent.mkdir(parents=True, exist_ok=True)
    for served in (chain.key + chain.leaf + chain.intermediate, self_signed["private"] + self_signed["public"]):
        tls.served.write_text(served)

        assert list(checking.check(appliance)) == []

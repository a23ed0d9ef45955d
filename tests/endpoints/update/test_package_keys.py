"""The keys of packages: several of them, of several kinds, and revoked ones."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Vendor, run

from jidoteki.core.appliance import Appliance
from jidoteki.core.checks import credentials
from jidoteki.core.endpoints.update import UPDATE, signing_keys, verifying_keys
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.core.endpoints.update.package import PackageError
from jidoteki.core.endpoints.update.signing_keys import SigningKey
from jidoteki.hookspecs import JobError

NewJob = Callable[..., Any]
Drop = Callable[..., Path]

KINDS = {
    "RSA": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "RSA-PSS": ("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"),
    "Ed25519": ("-algorithm", "ED25519"),
}
LIMITED = ("-pkeyopt", "rsa_pss_keygen_md:sha256", "-pkeyopt", "rsa_pss_keygen_mgf1_md:sha256")


@pytest.fixture
def new_key(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Return a function that makes a pair of keys with openssl."""

    def make(kind: str, name: str) -> tuple[Path, Path]:
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        limits = LIMITED if kind == "RSA-PSS with SHA-256" else ()
        run("openssl", "genpkey", *KINDS[kind.partition(" ")[0]], *limits, "-out", private)
        run("openssl", "pkey", "-in", private, "-pubout", "-out", public)
        return private, public

    return make


def trust(appliance: Appliance, public: Path) -> Path:
    """Put a key beside `updates.pub`."""
    directory = appliance.etc / "updates.pub.d"
    directory.mkdir(mode=0o755, exist_ok=True)
    (directory / public.name).write_bytes(public.read_bytes())
    return directory / public.name


def key_id(public: Path) -> str:
    """Return the id of a key as openssl and sha256sum tell it."""
    return hashlib.sha256(run("openssl", "pkey", "-pubin", "-in", public, "-outform", "DER")).hexdigest()


def made(vendor: Vendor, tmp_path: Path, private: Path, *more: Path) -> bytes:
    """Build a package that these keys sign."""
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "update.sh").write_text("#!/bin/sh\n")
    build_package(source, "1.1.0", vendor.key, private, tmp_path / "made.enc", *more)
    return (tmp_path / "made.enc").read_bytes()


def checked(job: Any) -> str:
    """Check a package in a dry run, and return the id of the key that counted."""
    job.dry_run = True
    assert UPDATE.check
    UPDATE.check(job)
    return str(job.previewed["key-id"])


def refusal(job: Any) -> str:
    with pytest.raises(JobError) as caught:
        checked(job)
    assert caught.value.code == "E1005"
    return caught.value.message


def told(appliance: Appliance) -> list[tuple[str, str | None]]:
    """Return level and file of what is found about the keys of updates."""
    return [(each.level, each.file) for each in credentials.check(appliance) if each.subject == "updates"]


@pytest.mark.parametrize("place", ["beside updates.pub", "as updates.pub", "alone"])
@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_each_kind_verify_packages(
    appliance: Appliance,
    vendor: Vendor,
    new_job: NewJob,
    drop: Drop,
    tmp_path: Path,
    new_key: Any,
    kind: str,
    place: str,
) -> None:
    private, public = new_key(kind, "new")
    package = drop(made(vendor, tmp_path, private))
    assert "not valid" in refusal(new_job(package))

    if place == "as updates.pub":
        (appliance.etc / "updates.pub").write_bytes(public.read_bytes())
    else:
        trust(appliance, public)
    if place == "alone":
        (appliance.etc / "updates.pub").unlink()

    assert checked(new_job(package)) == key_id(public)


@pytest.mark.parametrize("first", [True, False])
def test_one_of_several_signatures_is_enough(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path, new_key: Any, first: bool
) -> None:
    new, public = new_key("Ed25519", "new")
    keys = (new, vendor.private) if first else (vendor.private, new)
    package = drop(made(vendor, tmp_path, *keys))

    assert checked(new_job(package)) == key_id(vendor.public)
    (appliance.etc / "updates.pub").unlink()
    trust(appliance, public)
    assert checked(new_job(package)) == key_id(public)


@pytest.mark.parametrize("kind", KINDS)
def test_signatures_are_those_that_openssl_makes(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path, new_key: Any, kind: str
) -> None:
    private, public = new_key(kind, "new")
    trust(appliance, public)
    archive = vendor.archive(tmp_path / "work", {"version.txt": "1.1.0\n"})
    signature = archive.with_name(f"{archive.name}.sign")
    if kind == "Ed25519":
        digest = tmp_path / "digest"
        run("openssl", "dgst", "-sha256", "-binary", "-out", digest, archive)
        run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", digest, "-out", signature)
    else:
        pss = ("-sigopt", "rsa_padding_mode:pss") if kind == "RSA-PSS" else ()
        run("openssl", "dgst", "-sha256", *pss, "-sign", private, "-out", signature, archive)

    assert checked(new_job(drop(vendor.seal(archive, signature)))) == key_id(public)


def test_an_ordinary_rsa_key_may_sign_by_pss(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path
) -> None:
    archive = vendor.archive(tmp_path / "work", {"version.txt": "1.1.0\n"})
    signature = archive.with_name(f"{archive.name}.sign")
    pss = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1")
    run("openssl", "dgst", "-sha256", *pss, "-sign", vendor.private, "-out", signature, archive)

    assert checked(new_job(drop(vendor.seal(archive, signature)))) == key_id(vendor.public)


def test_a_revoked_key_is_refused_and_another_signature_counts(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path, new_key: Any
) -> None:
    new, public = new_key("RSA", "new")
    trust(appliance, public)
    old, both = made(vendor, tmp_path, vendor.private), made(vendor, tmp_path, vendor.private, new)
    (appliance.etc / "updates.revoked").write_text(f"\ufeff# lost\r\n\r\n{key_id(vendor.public).upper()}  in May\r\n")

    assert refusal(new_job(drop(old))) == (
        f"The package's signature was made with a key that is revoked: {key_id(vendor.public)}"
    )
    assert checked(new_job(drop(both))) == key_id(public)
    (appliance.etc / "updates.revoked").write_text(f"{key_id(vendor.public)}\n{key_id(public)}\n")
    assert refusal(new_job(drop(both))) == "The appliance has no key that verifies updates: updates.revoked lists all"


NULL = "0500"
#: Parts of keys in DER as openssl writes them, and as others may: without NULL for "no parameters".
OTHER_FORMS = {
    "RSA": [("300d06092a864886f70d010101" + NULL, "300b06092a864886f70d010101")],
    "RSA-PSS with SHA-256": [
        ("303c06092a864886f70d01010a302f", "303806092a864886f70d01010a302b"),
        ("a00f300d0609608648016503040201" + NULL, "a00d300b0609608648016503040201"),
        (
            "a11c301a06092a864886f70d010108300d0609608648016503040201" + NULL,
            "a11a301806092a864886f70d010108300b0609608648016503040201",
        ),
    ],
}


def other_form(public: Path, kind: str) -> bytes:
    """Return a key in PEM in the form that openssl reads and does not write."""
    der = run("openssl", "pkey", "-pubin", "-in", public, "-outform", "DER")
    length = len(der)
    for usual, other in OTHER_FORMS[kind]:
        assert bytes.fromhex(usual) in der, der.hex()
        der = der.replace(bytes.fromhex(usual), bytes.fromhex(other), 1)
    assert length > len(der) > 256
    der = b"\x30\x82" + (len(der) - 4).to_bytes(2, "big") + der[4:]
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


def ids(keys: list[verifying_keys.VerifyingKey]) -> list[str]:
    return [key.id for key in keys]


@pytest.mark.parametrize("listed", ["as openssl tells it", "as the file has it"])
@pytest.mark.parametrize("kind", OTHER_FORMS)
def test_a_revoked_key_is_refused_in_any_form(appliance: Appliance, new_key: Any, kind: str, listed: str) -> None:
    _, public = new_key(kind, "new")
    usual, path = key_id(public), trust(appliance, public)
    path.write_bytes(other_form(public, kind))
    assert key_id(path) == usual
    raw = base64.b64decode(b"".join(path.read_bytes().splitlines()[1:-1]))
    id = usual if listed == "as openssl tells it" else hashlib.sha256(raw).hexdigest()
    assert usual in ids(verifying_keys.load(appliance.etc).valid)

    (appliance.etc / "updates.revoked").write_text(f"{id}\n")
    trust(appliance, public).rename(path.with_name("as-usual.pub"))
    path.write_bytes(other_form(public, kind))

    found = verifying_keys.load(appliance.etc)
    assert (ids(found.revoked), ids(found.valid)) == ([usual, usual], [key_id(appliance.etc / "updates.pub")])


@pytest.mark.parametrize(("listed", "trusted"), [("RSA", "RSA-PSS"), ("RSA-PSS", "RSA")])
def test_a_key_that_is_revoked_for_one_padding_is_for_the_other(
    appliance: Appliance, new_key: Any, listed: str, trusted: str
) -> None:
    """They are one private key."""
    _, public = new_key(trusted, "new")
    der = run("openssl", "pkey", "-pubin", "-in", public, "-outform", "DER")
    algorithms = {"RSA": "300d06092a864886f70d010101" + NULL, "RSA-PSS": "300b06092a864886f70d01010a"}
    assert bytes.fromhex(algorithms[trusted]) in der
    der = der.replace(bytes.fromhex(algorithms[trusted]), bytes.fromhex(algorithms[listed]))
    der = b"\x30\x82" + (len(der) - 4).to_bytes(2, "big") + der[4:]
    trust(appliance, public)

    (appliance.etc / "updates.revoked").write_text(f"{hashlib.sha256(der).hexdigest()}\n")

    assert ids(verifying_keys.load(appliance.etc).revoked) == [key_id(public)]


def test_a_list_of_revoked_keys_that_is_out_of_reach_lets_no_package_through(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path
) -> None:
    path = appliance.etc / "updates.revoked"
    path.symlink_to("not-mounted/updates.revoked")

    said = "The appliance's updates.revoked cannot be used: it is a link that leads nowhere"
    assert refusal(new_job(drop(made(vendor, tmp_path, vendor.private)))) == said
    assert told(appliance) == [("error", str(path))]


@pytest.mark.parametrize("content", ["nonsense\n", "a" * 63, None])
def test_a_list_of_revoked_keys_that_makes_no_sense_lets_no_package_through(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path, content: str | None
) -> None:
    path = appliance.etc / "updates.revoked"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)

    assert "updates.revoked cannot be" in refusal(new_job(drop(made(vendor, tmp_path, vendor.private))))
    assert told(appliance) == [("error", str(path))]


def test_a_file_that_holds_no_key_does_not_spoil_the_others(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path, new_key: Any
) -> None:
    spoiled = trust(appliance, new_key("RSA", "new")[1])
    spoiled.write_text("nonsense")
    job = new_job(drop(made(vendor, tmp_path, vendor.private)))

    assert checked(job) == key_id(vendor.public)
    assert "updates.pub.d/new.pub holds no key that can be used, and is passed over" in job.lines
    assert told(appliance) == [("warning", str(spoiled))]


def test_a_directory_that_others_may_write_to_holds_no_keys(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path, new_key: Any
) -> None:
    private, public = new_key("RSA", "new")
    directory = trust(appliance, public).parent
    directory.chmod(0o777)

    assert "not valid" in refusal(new_job(drop(made(vendor, tmp_path, private))))
    assert told(appliance) == [("warning", str(directory))]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_a_key_of_somebody_else_is_none(
    appliance: Appliance, vendor: Vendor, new_job: NewJob, drop: Drop, tmp_path: Path, new_key: Any
) -> None:
    private, public = new_key("RSA", "new")
    os.chown(trust(appliance, public), 1234, 1234)

    assert "not valid" in refusal(new_job(drop(made(vendor, tmp_path, private))))


def test_a_private_half_of_any_key_on_the_appliance_is_told(appliance: Appliance, new_key: Any) -> None:
    private, public = new_key("Ed25519", "new")
    trust(appliance, public)
    (appliance.etc / "forgotten").write_bytes(private.read_bytes())

    assert told(appliance) == [("error", str(appliance.etc / "forgotten"))]


def test_keys_that_cannot_sign_are_refused(vendor: Vendor, tmp_path: Path) -> None:
    curve = tmp_path / "curve.pem"
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", curve)

    with pytest.raises(PackageError, match=r"curve.pem is neither an RSA key nor one of Ed25519"):
        made(vendor, tmp_path, curve)
    with pytest.raises(PackageError, match="is the same key as another one"):
        made(vendor, tmp_path, vendor.private, vendor.private)
    with pytest.raises(PackageError, match="carries 8 signatures at most"):
        made(vendor, tmp_path, *[vendor.private] * 9)


def test_a_key_for_pss_alone_does_not_count_with_another_padding(new_key: Any) -> None:
    private, public = new_key("RSA-PSS", "new")
    key = verifying_keys.parse("new.pub", public.read_bytes())
    signing = SigningKey(signing_keys.load_all([private])[0].key, pss=False)
    digest = hashlib.sha256(b"content").digest()

    assert not key.verifies(signing.sign(digest), digest)
    assert key.verifies(signing_keys.load_all([private])[0].sign(digest), digest)

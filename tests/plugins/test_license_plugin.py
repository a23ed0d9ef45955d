"""Licenses: what is accepted, and what the job leaves on the appliance. The witness is `gpg`."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import ApiError, Endpoint, JobError, JobOutcome
from jidoteki.plugins import license as plugin
from jidoteki.plugins.license import gpg, jobs, reading
from jidoteki.plugins.license.programs import ToolError, run
from jidoteki.plugins.license.validators import PARAMETERS, message_text
from jidoteki.testing import FakeJob, FakeRequest, wait_until

LICENSE = {"app": "enterprise", "users": 20, "expires": "19 January 2038", "name": "Ünternehmen", "contact": "cto@e"}
FOREVER = "never"
IN_2020 = ("--faked-system-time", "20200101T000000")
SIX_HOURS_LATER = ("--faked-system-time", "20200101T060000")


class WorkingRequest(FakeRequest):
    """Runs the job in this process, as the host would in another one."""

    async def run_job(self, job_type: str, /, *, join: bool = False, **values: Any) -> JobOutcome:
        return await asyncio.to_thread(self._run, values)

    def _run(self, values: Mapping[str, Any]) -> JobOutcome:
        job = FakeJob(self.appliance, values, self.appliance.admin / "tmp", dry_run=self.dry_run)
        try:
            jobs.check(job)
            if not self.dry_run:
                jobs.run(job)
        except JobError as failure:
            return JobOutcome("1", "failed", failure.message, failure.code)
        return JobOutcome("1", "success")


@dataclass
class Keyring:
    """What a vendor has at home: a `gpg` with keys in it."""

    home: Path

    def gpg(self, *arguments: str | Path, given: bytes = b"") -> bytes:
        options = ("--homedir", self.home, "--batch", "--quiet", "--trust-model", "always")
        unprotected = ("--pinentry-mode", "loopback", "--passphrase", "")
        argv = ["gpg", *options, *unprotected, *arguments]
        return subprocess.run(argv, input=given, capture_output=True, check=True, timeout=60).stdout

    def license(self, *how: str, content: bytes | None = None, by: str = "vendor", to: str = "appliance") -> bytes:
        """Sign and encrypt with the defaults of `gpg`, and `how`."""
        plain = json.dumps(LICENSE).encode() if content is None else content
        return self.gpg("--armor", "--sign", "--encrypt", *how, "-u", f"={by}", "-r", f"={to}", given=plain)

    def secret(self, name: str) -> bytes:
        return self.gpg("--armor", "--export-secret-keys", f"={name}")

    def certificate(self, name: str) -> bytes:
        return self.gpg("--armor", "--export", f"={name}")


@pytest.fixture(scope="module")
def keyring() -> Iterator[Keyring]:
    home = Path(tempfile.mkdtemp(prefix="ring-"))
    ring = Keyring(home)
    (home / "gpg-agent.conf").write_text("s2k-count 65536\n")
    ring.gpg(*IN_2020, "--quick-generate-key", "appliance", "default", "default", FOREVER)
    ring.gpg(*IN_2020, "--quick-generate-key", "vendor", "ed25519", "cert,sign", FOREVER)
    ring.gpg(*IN_2020, "--quick-generate-key", "stranger", "ed25519", "cert,sign", FOREVER)
    ring.gpg(*IN_2020, "--quick-generate-key", "late", "ed25519", "cert,sign", "1d")
    yield ring
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    shutil.rmtree(home)


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyring: Keyring) -> Appliance:
    monkeypatch.delenv("JIDO_ADMIN_PATH", raising=False)
    appliance = Appliance(tmp_path / "root")
    appliance.prepare()
    (appliance.etc / "license.key").write_bytes(keyring.secret("appliance"))
    (appliance.etc / "license.pub").write_bytes(keyring.certificate("vendor"))
    return appliance


def job_with(appliance: Appliance, message: bytes) -> FakeJob:
    return FakeJob(appliance, {"license": message_text(message)}, appliance.tmp)


def carry_out(job: FakeJob) -> None:
    """What the host does with a job."""
    jobs.check(job)
    jobs.run(job)


def install(appliance: Appliance, message: bytes) -> dict[str, Any]:
    """Run the job and read what it left."""
    job = job_with(appliance, message)
    carry_out(job)
    assert (job.lines[0], job.lines[-1]) == ("Updating license. Please wait..", "Updating license successful")
    assert not (appliance.etc / "license.asc.former").exists()
    return reading.read(appliance, appliance.tmp, 60)


def refusal(appliance: Appliance, message: bytes, code: str = jobs.INVALID, seconds: float = 60) -> str:
    """Run the job, which must fail and leave the license in force as it was."""
    license = appliance.etc / "license.asc"
    before = license.read_bytes() if license.exists() else None
    job = job_with(appliance, message)
    job.host_config = {"limits": {"command": seconds}}
    with pytest.raises(JobError) as failure:
        carry_out(job)
    assert failure.value.code == code
    assert job.lines[0] == "Updating license. Please wait.."
    assert job.lines[-2:] == [failure.value.message, "Invalid or missing license file"]
    assert list(appliance.tmp.iterdir()) == []
    assert (license.read_bytes() if license.exists() else None) == before
    assert not (appliance.etc / "license.asc.former").exists()
    return failure.value.message


def without_signer(appliance: Appliance) -> Appliance:
    (appliance.etc / "license.pub").unlink()
    return appliance


def agents(*homes: Path) -> list[list[str]]:
    """The agents of homes that the plugin made in these directories."""
    starts = tuple(f"{home}/gnupg-" for home in homes)
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if line[:1] == ["gpg-agent"] and any(word.startswith(starts) for word in line)]


@pytest.mark.parametrize(
    "how",
    [
        (),
        ("--compress-algo", "none"),
        ("--compress-algo", "zip"),
        ("--compress-algo", "zlib"),
        ("--compress-algo", "bzip2"),
        ("--cipher-algo", "3DES"),
        ("--no-armor",),
        ("--hidden-recipient", "=appliance"),
        ("--comment", "made for you"),
    ],
    ids=lambda how: " ".join(how) or "defaults",
)
def test_a_license_made_by_gpg_is_installed(appliance: Appliance, keyring: Keyring, how: tuple[str, ...]) -> None:
    old = "--allow-old-cipher-algos"  # GnuPG 2.4 encrypts with them only so
    message = keyring.license(
        *((old,) if "3DES" in how and old.encode() in keyring.gpg("--dump-options") else ()), *how
    )

    assert install(appliance, message) == LICENSE
    assert (appliance.etc / "license.asc").read_bytes() == message
    assert (appliance.etc / "license.asc").stat().st_mode & 0o777 == 0o600


def test_a_license_with_windows_line_ends_is_installed(appliance: Appliance, keyring: Keyring) -> None:
    assert install(appliance, keyring.license().replace(b"\n", b"\r\n")) == LICENSE


def test_nothing_is_left_of_reading_a_license(
    appliance: Appliance, keyring: Keyring, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path_factory.mktemp("t")
    monkeypatch.setattr(tempfile, "tempdir", str(beside))

    install(appliance, keyring.license())

    wait_until(lambda: not agents(appliance.tmp, beside))
    assert list(appliance.tmp.iterdir()) == []
    assert list(beside.iterdir()) == []


def test_a_license_is_read_below_a_root_with_a_very_long_name(tmp_path: Path, keyring: Keyring) -> None:
    appliance = Appliance(tmp_path / "/".join(["a-rather-long-directory-name"] * 6))
    appliance.prepare()
    (appliance.etc / "license.key").write_bytes(keyring.secret("appliance"))

    assert len(str(appliance.tmp)) > 150
    assert install(appliance, keyring.license()) == LICENSE


def test_the_secret_key_lies_only_where_the_appliance_clears_up(
    appliance: Appliance, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes: list[Path] = []
    started = gpg.Home.run

    def run_and_note(home: gpg.Home, *words: Any) -> Any:
        homes.append(home.path.resolve())
        return started(home, *words)

    monkeypatch.setattr(gpg.Home, "run", run_and_note)

    install(appliance, keyring.license())

    assert {home.parent for home in homes} == {appliance.tmp.resolve()}


def test_an_unsigned_license_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    unsigned = keyring.gpg("--armor", "--encrypt", "-r", "=appliance", given=b"{}")

    message = refusal(appliance, unsigned)

    assert message == "The license is not signed: a signature by the key in license.pub is needed"


def test_an_unsigned_license_is_enough_where_no_signer_is_known(appliance: Appliance, keyring: Keyring) -> None:
    unsigned = keyring.gpg("--armor", "--encrypt", "-r", "=appliance", given=b'{"users": 1}')

    assert install(without_signer(appliance), unsigned) == {"users": 1}


def test_the_signature_does_not_matter_where_no_signer_is_known(appliance: Appliance, keyring: Keyring) -> None:
    assert install(without_signer(appliance), keyring.license(*SIX_HOURS_LATER, by="late")) == LICENSE


@pytest.mark.parametrize("signer", ["stranger", "appliance"])
def test_a_license_signed_by_another_key_is_refused(appliance: Appliance, keyring: Keyring, signer: str) -> None:
    message = refusal(appliance, keyring.license(by=signer))

    assert message == "The license is not signed by the key in license.pub"


def test_a_license_that_a_stranger_signed_too_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    message = refusal(appliance, keyring.license("-u", "=stranger"))

    assert message == "The license is not signed by the key in license.pub"


def test_a_license_signed_by_an_expired_key_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    (appliance.etc / "license.pub").write_bytes(keyring.certificate("late"))

    message = refusal(appliance, keyring.license(*SIX_HOURS_LATER, by="late"))

    assert message.startswith("The key that signed the license has expired")


def test_a_license_whose_signature_has_expired_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    message = refusal(appliance, keyring.license(*SIX_HOURS_LATER, "--default-sig-expire", "1"))

    assert message.startswith("The signature of the license has expired")


def test_a_license_signed_by_a_revoked_key_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    revocation = next((keyring.home / "openpgp-revocs.d").glob(f"{fingerprint(keyring, 'vendor')}.rev"))
    certificate = keyring.certificate("vendor") + revocation.read_bytes().replace(b":-----", b"-----")
    (appliance.etc / "license.pub").write_bytes(certificate)

    message = refusal(appliance, keyring.license())

    assert message.startswith("The key that signed the license was revoked")


def fingerprint(keyring: Keyring, name: str) -> str:
    listing = keyring.gpg("--with-colons", "--list-keys", f"={name}").decode()
    return next(line for line in listing.splitlines() if line.startswith("fpr")).split(":")[9]


def test_a_license_that_was_only_signed_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    signed = keyring.gpg("--armor", "--sign", "-u", "=vendor", given=b"{}")

    assert refusal(appliance, signed) == "The license is not encrypted"


def test_a_license_for_another_appliance_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    other, _ = gpg.make_keys("other appliance")
    message = keyring.license()
    (appliance.etc / "license.key").write_text(other)

    assert refusal(appliance, message).startswith("The license is not encrypted to the key in license.key")


def test_a_license_for_another_appliance_whose_key_was_made_here_too_is_told_from_a_damaged_one(
    appliance: Appliance, keyring: Keyring
) -> None:
    (own, certificate), (other, _) = gpg.make_keys("this appliance"), gpg.make_keys("other appliance")
    message = gpg.make_license(LICENSE, certificate.encode(), keyring.secret("vendor")).encode()
    damaged = bytearray(keyring.gpg("--dearmor", given=message))
    damaged[60] ^= 1  # in the session key

    (appliance.etc / "license.key").write_text(own)
    assert refusal(appliance, bytes(damaged)) == DAMAGED
    install(appliance, message)
    (appliance.etc / "license.key").write_text(other)
    assert refusal(appliance, message).startswith("The license is not encrypted to the key in license.key")


def test_a_license_encrypted_with_a_passphrase_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    symmetric = keyring.gpg("--passphrase", "x", "--armor", "--sign", "-u", "=vendor", "--symmetric", given=b"{}")

    assert refusal(appliance, symmetric).startswith("The license is not encrypted to the key in license.key")


DAMAGED = "The license is damaged: send the file as your vendor made it"
NO_MESSAGE = "The license is not an OpenPGP message"
CHANGED = "The signature of the license is wrong: it was changed after it was signed"


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_truncated_license_is_refused(appliance: Appliance, keyring: Keyring, tenths: int) -> None:
    whole = keyring.license("--no-armor", "--compress-algo", "none")

    assert refusal(appliance, whole[: len(whole) * tenths // 10]) in (NO_MESSAGE, DAMAGED)


@pytest.mark.parametrize("position", [0.1, 0.5, 0.8, 0.95])
def test_a_license_with_a_flipped_bit_is_refused(appliance: Appliance, keyring: Keyring, position: float) -> None:
    damaged = bytearray(keyring.license("--no-armor"))
    damaged[int(len(damaged) * position)] ^= 1

    assert refusal(appliance, bytes(damaged)) in (DAMAGED, CHANGED)


@pytest.mark.parametrize(
    "message", [b"hello", b"\x00\xff", b"-----BEGIN PGP MESSAGE-----\n\n\n-----END PGP MESSAGE-----\n"]
)
def test_what_is_not_openpgp_is_refused(appliance: Appliance, message: bytes) -> None:
    assert refusal(appliance, message) == "The license is not an OpenPGP message"


@pytest.mark.parametrize("content", [b"", b"users=20", b"[1]", b'"text"', b'{"users": NaN}', b'{"a":' * 5000, b"\xff"])
def test_a_license_that_holds_no_json_object_is_refused(appliance: Appliance, keyring: Keyring, content: bytes) -> None:
    assert refusal(appliance, keyring.license(content=content)) == "The license does not hold a JSON object"


def test_a_license_that_unpacks_to_very_much_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    bomb = keyring.license("--compress-algo", "bzip2", content=b" " * 50_000_000)

    assert refusal(appliance, bomb) == "The license holds more than 1048576 bytes"


def test_two_licenses_in_one_file_are_refused(appliance: Appliance, keyring: Keyring) -> None:
    assert refusal(appliance, keyring.license("--no-armor") * 2) in (DAMAGED, CHANGED)


@pytest.mark.parametrize("order", [("signed", "other"), ("other", "signed"), ("signed", "signed")])
def test_a_signed_document_beside_another_one_is_refused(
    appliance: Appliance, keyring: Keyring, order: tuple[str, str]
) -> None:
    parts = {
        "signed": keyring.gpg("--sign", "--compress-algo", "none", "-u", "=vendor", given=b'{"users": 1}'),
        "other": keyring.gpg("--store", "--compress-algo", "none", given=b'{"users": 9}'),
    }

    message = sealed(keyring, parts[order[0]] + parts[order[1]])

    assert install(appliance, sealed(keyring, parts["signed"])) == {"users": 1}
    assert refusal(appliance, message) in (DAMAGED, CHANGED)


def test_a_signature_lent_to_another_document_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    signed = keyring.gpg("--sign", "--compress-algo", "none", "-u", "=vendor", given=b'{"users": 1}')

    message = sealed(keyring, signed.replace(b'"users": 1', b'"users": 9'))

    assert refusal(appliance, message) == CHANGED


def sealed(keyring: Keyring, packets: bytes) -> bytes:
    """Encrypt packets as they are."""
    return keyring.gpg("--no-literal", "--encrypt", "-r", "=appliance", given=packets)


def test_without_a_secret_key_a_license_is_refused(appliance: Appliance, keyring: Keyring) -> None:
    (appliance.etc / "license.key").unlink()

    message = refusal(appliance, keyring.license())

    assert message == "The license cannot be decrypted: this appliance has no license.key"


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_a_file_that_holds_no_key_is_named(appliance: Appliance, keyring: Keyring, content: bytes) -> None:
    (appliance.etc / "license.pub").write_bytes(content)
    without_certificate = refusal(appliance, keyring.license())
    (appliance.etc / "license.key").write_bytes(content)
    without_key = refusal(appliance, keyring.license())

    assert without_certificate == "The license cannot be verified: license.pub holds no OpenPGP certificate"
    assert without_key == "The license cannot be decrypted: license.key holds no OpenPGP secret key"


def test_a_certificate_instead_of_the_secret_key_is_named(appliance: Appliance, keyring: Keyring) -> None:
    (appliance.etc / "license.key").write_bytes(keyring.certificate("appliance"))

    assert "no OpenPGP secret key" in refusal(appliance, keyring.license())


def test_a_secret_key_with_a_passphrase_is_named(appliance: Appliance, keyring: Keyring) -> None:
    keyring.gpg("--passphrase", "x", "--quick-generate-key", "locked", "future-default", "default", FOREVER)
    locked = keyring.gpg("--passphrase", "x", "--armor", "--export-secret-keys", "=locked")
    (appliance.etc / "license.key").write_bytes(locked)

    message = refusal(appliance, keyring.license(to="locked"))

    assert message == "license.key cannot decrypt the license: it must be usable without a passphrase"


def test_a_missing_gpg_is_named(appliance: Appliance, keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    message = keyring.license()
    monkeypatch.setenv("PATH", "/nowhere")

    assert refusal(appliance, message, "E1000").startswith("gpg is not installed")


def test_a_gpg_that_hangs_is_stopped(
    appliance: Appliance, keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = keyring.license()
    script(tmp_path / "gpg", "exec sleep 100")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpg, "TIMEOUT", 0.2)

    assert refusal(appliance, message, "E1000") == "gpg did not end within 0.2 seconds"


def test_an_invalid_license_leaves_the_one_in_force(appliance: Appliance, keyring: Keyring) -> None:
    valid = keyring.license()
    install(appliance, valid)

    refusal(appliance, keyring.license(by="stranger"))

    assert (appliance.etc / "license.asc").read_bytes() == valid


def test_a_license_that_cannot_be_stored_fails_the_job(appliance: Appliance, keyring: Keyring) -> None:
    (appliance.etc / "license.asc").mkdir()

    with pytest.raises(JobError, match="cannot be stored"):
        install(appliance, keyring.license())


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


READS = 'test $# = 0 && cat "$JIDO_ADMIN_PATH/etc/license.asc"'
"""What a vendor of the original has in `license.sh`: without an argument, it reads the license in its place."""


def in_place(appliance: Appliance, content: str, mode: int = 0o640) -> None:
    """Put a license in its place, as the original leaves it."""
    (appliance.etc / "license.asc").write_text(content)
    (appliance.etc / "license.asc").chmod(mode)


def test_the_vendors_command_of_the_original_installs_a_license(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", READS)
    in_place(appliance, '{"users": 1}')

    assert install(appliance, b'{"users": 5}') == {"users": 5}
    assert (appliance.etc / "license.asc").read_text() == '{"users": 5}'


def test_the_vendors_command_installs_a_first_license(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", READS)

    assert install(appliance, b'{"users": 5}') == {"users": 5}


@pytest.mark.parametrize("printed", ["nothing", "[1]", '"text"', "null", '{"users": 5', '{"users": NaN}'])
@pytest.mark.parametrize("status", [0, 3])
def test_a_license_of_which_the_vendors_command_prints_no_object_is_put_back(
    appliance: Appliance, printed: str, status: int
) -> None:
    script(appliance.bin / "license.sh", f"{READS}; exit {status}")
    in_place(appliance, '{"users": 1}')
    before = (appliance.etc / "license.asc").stat()

    message = refusal(appliance, printed.encode())
    after = (appliance.etc / "license.asc").stat()

    assert message == "The license is not valid: license.sh printed no JSON object" + (
        f" (exit status {status})" if status else ""
    )
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)


def test_a_first_license_that_the_vendors_command_refuses_is_removed(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", READS)

    refusal(appliance, b"nonsense")

    assert not (appliance.etc / "license.asc").exists()


def test_what_the_vendors_command_prints_decides_and_its_exit_status_is_a_warning(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", f"{READS}; exit 3")
    job = job_with(appliance, b'{"users": 5}')

    jobs.check(job)
    jobs.run(job)

    assert job.lines == [
        "Updating license. Please wait..",
        "Warning: license.sh ended with exit status 3; what it printed counts",
        "Updating license successful",
    ]
    assert reading.read(appliance, appliance.tmp, 60) == {"users": 5}


def test_the_vendor_command_gets_a_minimal_environment(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIDOTEKI_TOKEN", "secret")
    script(appliance.bin / "license.sh", 'printf \'{"token":"%s","admin":"%s"}\' "$JIDOTEKI_TOKEN" "$JIDO_ADMIN_PATH"')

    assert install(appliance, b"any") == {"token": "", "admin": str(appliance.admin)}


def test_a_vendor_command_that_prints_no_end_or_hangs_is_stopped(appliance: Appliance) -> None:
    in_place(appliance, '{"users": 1}')
    script(appliance.bin / "license.sh", "sleep 100 & sleep 100")
    hanging = refusal(appliance, b"any", "E1000", seconds=0.3)
    script(appliance.bin / "license.sh", "exec yes")
    endless = refusal(appliance, b"any", "E1000")

    assert hanging == "license.sh did not end within 0.3 seconds"
    assert endless == "license.sh printed more than 1048576 bytes"


def test_a_vendor_command_may_leave_a_daemon_behind(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", "sleep 10 & echo '{}'")
    started = time.monotonic()

    assert install(appliance, b"any") == {}
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("mode", [0o755, 0o644])
@pytest.mark.parametrize(
    "text",
    [
        'echo \'{"by": "sh"}\'\n',
        '#!/bin/sh\necho \'{"by": "sh"}\'\n',
        '#!/usr/bin/env sh\necho \'{"by": "sh"}\'\n',
        '#! /usr/bin/tail -n1\n{"by": "sh"}\n',
    ],
)
def test_a_vendor_command_is_run_by_what_its_first_line_says_or_by_sh(
    appliance: Appliance, text: str, mode: int
) -> None:
    (appliance.bin).mkdir()
    (appliance.bin / "license.sh").write_text(text)
    (appliance.bin / "license.sh").chmod(mode)

    assert install(appliance, b"any") == {"by": "sh"}


@pytest.mark.parametrize("obstacle", ["directory", "dangling link", "no such interpreter"])
def test_a_vendor_command_that_cannot_run_is_a_failure_and_not_none(
    appliance: Appliance, keyring: Keyring, obstacle: str
) -> None:
    path = appliance.bin / "license.sh"
    path.parent.mkdir()
    if obstacle == "directory":
        path.mkdir()
    elif obstacle == "dangling link":
        path.symlink_to("nowhere")
    else:
        path.write_text("#!/nowhere/sh\n")
        path.chmod(0o755)

    assert refusal(appliance, keyring.license(), "E1000").startswith("license.sh cannot be run: ")


@pytest.mark.parametrize("former", ['{"users": 1}', None])
@pytest.mark.parametrize("placed", [True, False])
def test_the_former_license_is_put_back_after_a_kill(appliance: Appliance, former: str | None, placed: bool) -> None:
    """`license.asc.former` beside the new license, and beside the old one when the kill came before."""
    (appliance.etc / "license.asc.former").write_text(former or "")
    if placed or former:
        in_place(appliance, "new" if placed else str(former))

    recover: Any = jobs.LICENSE.recover
    recover(appliance)
    recover(appliance)

    license = appliance.etc / "license.asc"
    assert (license.read_text() if license.exists() else None) == former
    assert not (appliance.etc / "license.asc.former").exists()


def test_a_license_that_cannot_be_placed_leaves_the_former_one(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(appliance.bin / "license.sh", READS)
    in_place(appliance, '{"users": 1}')
    placing = Appliance.replace_file

    def no_space(self: Appliance, path: Path, *arguments: Any) -> None:
        if path.name == "license.asc":
            raise OSError(28, "No space left on device")
        placing(self, path, *arguments)

    monkeypatch.setattr(Appliance, "replace_file", no_space)

    assert refusal(appliance, b"{}", "E1000") == "The license cannot be stored: No space left on device"


def handlers(appliance: Appliance) -> dict[str, Endpoint]:
    return {endpoint.method: endpoint for endpoint in plugin.jidoteki_endpoints(appliance)}


async def test_posting_a_license_answers_with_it_and_getting_shows_it(appliance: Appliance, keyring: Keyring) -> None:
    methods = handlers(appliance)

    posted = await methods["POST"].handler(WorkingRequest(appliance, {"license": keyring.license().decode()}))
    shown = await methods["GET"].handler(WorkingRequest(appliance))

    assert posted == shown == LICENSE


async def test_getting_no_license_is_not_found(appliance: Appliance) -> None:
    with pytest.raises(ApiError) as error:
        await handlers(appliance)["GET"].handler(WorkingRequest(appliance))

    assert (error.value.status, error.value.message) == (404, "There is no license yet: send one with POST /license")


async def test_posting_an_invalid_license_is_not_found_and_another_fault_is_a_bad_request(
    appliance: Appliance, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = handlers(appliance)["POST"].handler
    unsigned = keyring.gpg("--armor", "--encrypt", "-r", "=appliance", given=b"{}").decode()

    with pytest.raises(ApiError) as invalid:
        await post(WorkingRequest(appliance, {"license": unsigned}))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ApiError) as broken:
        await post(WorkingRequest(appliance, {"license": unsigned}))

    assert (invalid.value.status, broken.value.status) == (404, 400)
    assert "not signed" in str(invalid.value.message)
    assert "gpg is not installed" in str(broken.value.message)


async def test_a_cancelled_job_is_a_bad_request(appliance: Appliance) -> None:
    request = FakeRequest(appliance, {"license": "any"}, outcome=JobOutcome("1", "cancelled"))

    with pytest.raises(ApiError) as error:
        await handlers(appliance)["POST"].handler(request)

    assert (error.value.status, error.value.message) == (400, "The license was not changed: the job ended as cancelled")


async def test_a_dry_run_judges_and_changes_nothing(appliance: Appliance, keyring: Keyring) -> None:
    post = handlers(appliance)["POST"].handler

    answer = await post(WorkingRequest(appliance, {"license": keyring.license().decode()}, dry_run=True))
    with pytest.raises(ApiError) as error:
        await post(WorkingRequest(appliance, {"license": "junk"}, dry_run=True))

    assert answer == {"Status": "200 OK"}
    assert error.value.status == 404
    assert not (appliance.etc / "license.asc").exists()


async def test_the_name_of_a_file_in_its_place_is_told(appliance: Appliance, keyring: Keyring) -> None:
    with pytest.raises(ApiError) as error:
        await handlers(appliance)["POST"].handler(WorkingRequest(appliance, {"license": "license.asc"}, dry_run=True))

    assert str(error.value.message).endswith("with curl, write -F license=@FILE")


async def test_a_dry_run_does_not_pretend_to_know_what_the_vendors_command_would_say(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", READS)
    in_place(appliance, '{"users": 1}')

    with pytest.raises(ApiError) as error:
        await handlers(appliance)["POST"].handler(WorkingRequest(appliance, {"license": "{}"}, dry_run=True))

    assert (error.value.status, "A dry run cannot judge a license here" in str(error.value.message)) == (400, True)
    assert (appliance.etc / "license.asc").read_text() == '{"users": 1}'


async def test_many_readers_who_wait_share_one_reading(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", f"echo x >> {appliance.tmp}/calls; {READS}")
    (appliance.etc / "license.asc").write_text('{"users": 1}')
    get = handlers(appliance)["GET"].handler

    answers = await asyncio.gather(*[get(WorkingRequest(appliance)) for _ in range(20)])

    assert answers == [{"users": 1}] * 20
    assert (appliance.tmp / "calls").read_text() in ("x\n", "x\n" * 2)


async def test_a_reader_who_hangs_up_leaves_the_others_their_answer(appliance: Appliance) -> None:
    script(appliance.bin / "license.sh", f"sleep 0.2; {READS}")
    in_place(appliance, '{"users": 1}')
    get = handlers(appliance)["GET"].handler

    first, second, third = (asyncio.ensure_future(get(WorkingRequest(appliance))) for _ in range(3))
    assert await first == {"users": 1}
    await asyncio.sleep(0.05)
    second.cancel()

    assert await third == {"users": 1}


async def test_the_vendors_command_is_asked_at_each_request(appliance: Appliance) -> None:
    """It may know more than the license says, such as the day."""
    script(appliance.bin / "license.sh", "echo '{\"today\": 1}'; exit 1")
    get = handlers(appliance)["GET"].handler

    first = await get(WorkingRequest(appliance))
    script(appliance.bin / "license.sh", 'cat "$JIDO_ADMIN_PATH/today"')
    (appliance.admin / "today").write_text('{"today": 2}')
    second = await get(WorkingRequest(appliance))
    (appliance.admin / "today").write_text('{"today": 3}')
    third = await get(WorkingRequest(appliance))

    assert (first, second, third) == ({"today": 1}, {"today": 2}, {"today": 3})


@pytest.mark.parametrize("printed", ["", "[]", "expired"])
async def test_getting_a_license_of_which_the_vendors_command_prints_no_object_is_not_found(
    appliance: Appliance, printed: str
) -> None:
    script(appliance.bin / "license.sh", f"echo '{printed}'")

    with pytest.raises(ApiError) as error:
        await handlers(appliance)["GET"].handler(WorkingRequest(appliance))

    assert error.value.status == 404


async def test_a_change_of_any_file_is_seen_at_once(appliance: Appliance, keyring: Keyring) -> None:
    install(appliance, keyring.license())
    get = handlers(appliance)["GET"].handler
    first = await get(WorkingRequest(appliance))

    (appliance.etc / "license.pub").write_bytes(keyring.certificate("stranger"))
    with pytest.raises(ApiError) as distrusted:
        await get(WorkingRequest(appliance))
    (appliance.etc / "license.asc").write_bytes(keyring.license(by="stranger", content=b'{"users": 2}'))

    assert first == LICENSE
    assert distrusted.value.status == 404
    assert await get(WorkingRequest(appliance)) == {"users": 2}


@pytest.mark.parametrize(("age", "verified"), [(60.0, 1), (0.0, 2)])
async def test_a_judgement_of_gpg_is_renewed_after_a_while(
    appliance: Appliance, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, age: float, verified: int
) -> None:
    install(appliance, keyring.license())
    get = handlers(appliance)["GET"].handler
    monkeypatch.setattr(reading, "MAX_AGE", age)
    verify = reading.verified
    calls: list[Path] = []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments[1])
        return verify(*arguments)

    monkeypatch.setattr(reading, "verified", counted)

    await get(WorkingRequest(appliance))
    await get(WorkingRequest(appliance))

    assert len(calls) == verified


async def test_getting_a_license_without_gpg_says_so(
    appliance: Appliance, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(appliance, keyring.license())
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ApiError) as error:
        await handlers(appliance)["GET"].handler(WorkingRequest(appliance))

    assert error.value.status == 503


def test_what_the_plugin_makes_is_read_by_the_plugin_and_by_gpg(appliance: Appliance, keyring: Keyring) -> None:
    key, recipient = gpg.make_keys("Test appliance <appliance@example>")
    signer, signer_certificate = gpg.make_keys("Test vendor <vendor@example>")
    (appliance.etc / "license.key").write_text(key)
    (appliance.etc / "license.pub").write_text(signer_certificate)

    message = gpg.make_license(LICENSE, recipient.encode(), signer.encode())

    assert install(appliance, message.encode()) == LICENSE
    keyring.gpg("--import", given=key.encode())
    assert json.loads(keyring.gpg("--skip-verify", "--decrypt", given=message.encode())) == LICENSE


def test_a_license_needs_a_secret_key_to_be_made() -> None:
    _, certificate = gpg.make_keys("Somebody")

    with pytest.raises(
        ToolError, match="needs the appliance's OpenPGP certificate and the vendor's OpenPGP secret key"
    ):
        gpg.make_license(LICENSE, certificate.encode(), certificate.encode())


def test_keys_are_not_made_without_gpg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ToolError, match="gpg is not installed"):
        gpg.make_keys("Somebody")


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(ToolError, match="nothing cannot be run: No such file or directory"):
        run(["/nowhere/nothing"], env={}, timeout=1, limit=1)


@given(st.binary(min_size=1))
def test_the_validator_loses_no_byte(content: bytes) -> None:
    assert message_text(b"x" + content).encode("latin-1") == b"x" + content


@pytest.mark.parametrize("content", [b"", b" \r\n\t"])
def test_the_validator_refuses_an_empty_file(content: bytes) -> None:
    with pytest.raises(vol.Invalid, match="must not be empty"):
        message_text(content)


def test_the_form_needs_a_license() -> None:
    assert [(type(marker), marker.schema) for marker in PARAMETERS] == [(vol.Required, "license")]


def test_a_license_that_an_editor_wrote_is_taken_as_it_came() -> None:
    assert message_text(b"\xef\xbb\xbf-----BEGIN PGP MESSAGE-----") == "-----BEGIN PGP MESSAGE-----"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        content = "\ufeff-----BEGIN PGP MESSAGE-----".encode(encoding)
        with pytest.raises(vol.Invalid, match="UTF-16: send the license file as it came"):
            message_text(content)

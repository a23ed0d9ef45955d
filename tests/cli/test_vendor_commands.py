"""The vendor's commands for packages, debug bundles and licenses, checked with the real openssl, tar and gpg."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.archives.openssl import EncryptingWriter, seal
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeAppliance, MakeHost
from jidoteki.testing.host import COMMAND

ELSEWHERE = f"{tempfile.gettempdir()}/escaped-{secrets.token_hex(8)}"


def jidoteki(*arguments: str | Path, root: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command, with an appliance's plugins or with those of this machine."""
    environment = {**os.environ, **({"JIDOTEKI_ROOT": str(root)} if root else {})}
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return the directory that a vendor packs."""
    directory = tmp_path / "source"
    (directory / "files").mkdir(parents=True)
    (directory / "update.sh").write_text("#!/bin/sh\ncat files/greeting\n")
    (directory / "changelog.txt").write_text("# 1.1.0\n")
    (directory / "files/greeting").write_text("Hello from the package\n")
    return directory


def build(source: Path, vendor: Path, output: Path, version: str = "1.1.0") -> subprocess.CompletedProcess[str]:
    keys = ("--key", vendor / "updates.key", "--sign-key", vendor / "private.pem")
    return jidoteki("package", "build", source, "--version", version, *keys, "-o", output)


@pytest.fixture
def appliance(jidoteki_appliance: MakeAppliance) -> Appliance:
    return jidoteki_appliance()


@pytest.fixture
def vendor(appliance: Appliance) -> Path:
    return appliance.root / "vendor"


def test_openssl_and_tar_open_what_package_build_made(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    package = tmp_path / "package.enc"

    done = build(source, vendor, package)

    assert done.returncode == 0, done.stderr
    subprocess.run(
        ["sh", "-ec", f"""
            openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:{vendor}/updates.key -in {package} | tar x
            openssl dgst -sha256 -verify {appliance.etc}/updates.pub \
                -signature software_package.tar.gz.sign software_package.tar.gz
            tar xzf software_package.tar.gz
        """], cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "version.txt").read_text() == "1.1.0\n"
    assert (tmp_path / "files/greeting").read_text() == "Hello from the package\n"


def test_a_running_appliance_installs_what_package_build_made(
    jidoteki_host: MakeHost, source: Path, tmp_path: Path
) -> None:
    host = jidoteki_host()
    build(source, host.appliance.root / "vendor", tmp_path / "package.enc")

    host.post("/update", "-F", f"update=@{tmp_path / 'package.enc'}")
    status = host.wait_for_job("/update")

    assert status["status"] == "success", status
    assert "Hello from the package" in status["log"]
    assert host.get("/version").json == {"version": "1.1.0"}


@pytest.mark.parametrize(
    ("version", "spoil", "told"),
    [
        ("1.0\u00e9", lambda source, vendor: None, "version"),
        ("1.1.0", lambda source, vendor: (vendor / "updates.key").write_text(""), "updates.key is empty"),
        ("1.1.0", lambda source, vendor: (vendor / "private.pem").write_text("x"), "not a private key in PEM"),
        ("1.1.0", lambda source, vendor: os.mkfifo(source / "pipe"), "pipe"),
        ("1.1.0", lambda source, vendor: (source / "out").symlink_to("/etc/passwd"), "out"),
    ],
)
def test_what_an_appliance_would_refuse_is_not_built(
    source: Path, vendor: Path, tmp_path: Path, version: str, spoil: Callable[[Path, Path], object], told: str
) -> None:
    spoil(source, vendor)

    done = build(source, vendor, tmp_path / "package.enc", version)

    assert done.returncode == 1
    assert told in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "package.enc").exists()


KEY = "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda source, vendor: (source / "files/tls.key").write_text(KEY), "files/tls.key holds a private key"),
        (lambda source, vendor: (source / "id").write_text(KEY.replace("PRIVATE", "OPENSSH PRIVATE")), "id holds"),
        (
            lambda source, vendor: (source / "a.asc").write_text(KEY.replace("PRIVATE KEY", "PGP PRIVATE KEY BLOCK")),
            "a.asc",
        ),
        (lambda source, vendor: (source / "k").write_bytes((vendor / "updates.key").read_bytes()), "k is a key of the"),
        (lambda source, vendor: (source / "updates.key").write_text("another"), "updates.key is a key of the vendor's"),
        (lambda source, vendor: (vendor / "updates.key").write_text(KEY), "it is a key in PEM"),
        (lambda source, vendor: (vendor / "updates.key").write_text("\nsecret\n"), "is empty"),
    ],
)
def test_keys_in_a_package_and_wrong_ones_are_refused(
    source: Path, vendor: Path, tmp_path: Path, spoil: Any, told: str
) -> None:
    spoil(source, vendor)

    done = build(source, vendor, tmp_path / "package.enc")

    assert done.returncode == 1
    assert told in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "package.enc").exists()


def test_a_short_key_signs_no_package(source: Path, vendor: Path, tmp_path: Path) -> None:
    subprocess.run(["openssl", "genrsa", "-out", vendor / "private.pem", "1024"], check=True, capture_output=True)

    done = build(source, vendor, tmp_path / "package.enc")

    assert done.returncode == 1 and "private.pem has 1024 bits" in done.stderr


@pytest.mark.parametrize(
    ("script", "mode", "version", "told", "status"),
    [
        (None, 0, "1.1.0", "warning: There is no update.sh", 0),
        ("#!/bin/sh\r\nexit 0\r\n", 0o755, "1.1.0", "error: update.sh: ", 1),
        ("#!/bin/sh\n", 0o644, "1.1.0", "warning: update.sh: it is not executable", 0),
        ("exit 0\n", 0o755, "1.1.0", "warning: update.sh: no first line names an interpreter", 0),
        ("#!bash\n", 0o755, "1.1.0", "error: update.sh: its first line names bash, which is not an absolute path", 1),
        ("#!/bin/sh\n", 0o755, "final", "warning: The version final has no numbers", 0),
        ("#!/bin/sh\n", 0o755, "1.1-1", "warning: The version 1.1-1 adds to its numbers", 0),
        ("#!/bin/sh\n", 0o755, "1.1.0", "", 0),
    ],
)
def test_build_tells_what_may_fail_and_verify_says_the_same(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path,
    script: str | None, mode: int, version: str, told: str, status: int,
) -> None:  # fmt: skip
    (source / "update.sh").unlink()
    if script is not None:
        (source / "update.sh").write_bytes(script.encode())
        (source / "update.sh").chmod(mode)
    (appliance.etc / "version.txt").unlink()

    built = build(source, vendor, tmp_path / "package.enc", version)
    verify = ("package", "verify", tmp_path / "package.enc", "--root", appliance.root)
    linted, plain, as_json = jidoteki(*verify, "--lint"), jidoteki(*verify), jidoteki(*verify, "--lint", "--json")

    assert built.returncode == status
    assert built.stderr == linted.stderr and built.stderr.startswith(told) and built.stderr.count("\n") == bool(told)
    assert (linted.returncode, plain.returncode, plain.stderr) == (status, 0, "")
    assert len(json.loads(as_json.stdout)["remarks"]) == bool(told)


def test_verify_finds_keys_in_a_package_that_another_tool_made(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    (source / "update.sh").chmod(0o755)
    (source / "key.pem").write_text(KEY)
    subprocess.run(
        ["sh", "-ec", f"""
            echo 1.1.0 > {source}/version.txt
            tar -C {source} -czf software_package.tar.gz .
            openssl dgst -sha256 -sign {vendor}/private.pem -out software_package.tar.gz.sign software_package.tar.gz
            tar c software_package.tar.gz software_package.tar.gz.sign |
                openssl enc -aes-256-cbc -md sha256 -pbkdf2 -pass file:{vendor}/updates.key -out package.enc
        """], cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip

    done = jidoteki("package", "verify", tmp_path / "package.enc", "--root", appliance.root, "--lint")

    assert done.returncode == 1
    assert done.stderr == "error: key.pem holds a private key, and whoever has the package has it\n"


def test_windows_line_ends_in_the_passphrase_are_told(source: Path, vendor: Path, tmp_path: Path) -> None:
    (source / "update.sh").chmod(0o755)
    (vendor / "updates.key").write_bytes(b"secret\r\n")

    done = build(source, vendor, tmp_path / "package.enc")

    assert done.returncode == 0
    assert done.stderr.startswith("warning: updates.key: its first line ends with CR LF")


def test_a_version_in_the_directory_that_is_not_the_packages_is_told(
    source: Path, vendor: Path, tmp_path: Path
) -> None:
    (source / "version.txt").write_text("1.0.9\n")

    assert (
        "version.txt says '1.0.9'; the package's says 1.1.0" in build(source, vendor, tmp_path / "package.enc").stderr
    )


def test_verify_says_that_a_package_would_be_accepted_and_changes_nothing(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    build(source, vendor, tmp_path / "package.enc")
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in appliance.root.rglob("*"))

    done = jidoteki("package", "verify", tmp_path / "package.enc", "--root", appliance.root, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"accepted": True, "version": "1.1.0", "changelog": True}
    assert (tmp_path / "package.enc").exists()
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in appliance.root.rglob("*")) == before


def test_verify_goes_by_the_keys_of_root_where_root_runs_the_jobs(
    appliance: Appliance, source: Path, vendor: Path, tmp_path: Path
) -> None:
    assert build(source, vendor, tmp_path / "package.enc").returncode == 0
    appliance.replace_file(appliance.configuration, '{"jobs": {"run-as": "unit"}}')
    (appliance.admin / "keys").mkdir()
    for name in ("updates.key", "updates.pub"):
        (appliance.etc / name).rename(appliance.admin / "keys" / name)

    done = jidoteki("package", "verify", tmp_path / "package.enc", "--root", appliance.root)

    assert (done.returncode, done.stderr) == (0, "")


def test_verify_refuses_a_restart_that_the_appliance_cannot_make(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    (source / "package.json").write_text('{"reboot": true}')
    build(source, vendor, tmp_path / "package.enc")

    done = jidoteki("package", "verify", tmp_path / "package.enc", "--root", appliance.root)

    assert done.returncode == 1
    told = "The package restarts the appliance to try itself, and no reboot command is configured (E1000)"
    assert told in done.stderr


def test_verify_gives_the_reason_and_its_code_for_a_package_that_would_be_refused(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    build(source, vendor, tmp_path / "old.enc", "1.0.0")
    build(source, vendor, tmp_path / "damaged.enc")
    whole = (tmp_path / "damaged.enc").read_bytes()
    (tmp_path / "damaged.enc").write_bytes(whole[: len(whole) // 2])

    old = jidoteki("package", "verify", tmp_path / "old.enc", "--root", appliance.root)
    damaged = jidoteki("package", "verify", tmp_path / "damaged.enc", "--root", appliance.root, "--json")

    assert old.returncode == 1
    assert old.stderr == (
        "jidoteki: The package's version 1.0.0 is not newer than the installed version 1.0.0 (E1001)\n"
    )
    assert damaged.returncode == 1
    assert json.loads(damaged.stdout)["code"] == "E1005"


@pytest.mark.parametrize(
    ("candidate", "installed", "told"),
    [
        ("v1.0", "2.5.0", "is not newer than"),
        ("V1.0.0", "2.0.0", "is not newer than"),
        ("v0.9", "1.0", "is not newer than"),
        ("v1.2", "v1.10", "is not newer than"),
        ("release-1", "2.0.0", "cannot be compared with"),
        ("2024.05.01", "3.0.0", "cannot be compared with"),
        ("1.0.0-rc1", "1.0", "is not newer than"),
        ("1.0-rc1", "1.0.0", "cannot be compared with"),
        ("1.0.0", "1", "is not newer than"),
    ],
)
def test_verify_takes_no_older_version_however_it_is_spelt(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path, candidate: str, installed: str, told: str
) -> None:
    (appliance.etc / "version.txt").write_text(f"{installed}\n")
    build(source, vendor, tmp_path / "older.enc", candidate)

    done = jidoteki("package", "verify", tmp_path / "older.enc", "--root", appliance.root)

    assert done.returncode == 1
    assert f"The package's version {candidate} {told} the installed version {installed}" in done.stderr
    assert done.stderr.endswith("(E1001)\n")


def test_verify_judges_by_the_highest_version_that_was_installed_too(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    build(source, vendor, tmp_path / "package.enc", "1.1.0")
    (appliance.jobs / "highest-version").write_text("2.0.0\n")

    refused = jidoteki("package", "verify", tmp_path / "package.enc", "--root", appliance.root)
    (appliance.jobs / "highest-version").unlink()
    accepted = jidoteki("package", "verify", tmp_path / "package.enc", "--root", appliance.root)

    assert "is not newer than 2.0.0, the highest version that was installed here" in refused.stderr
    assert (refused.returncode, accepted.returncode) == (1, 0)


def test_verify_refuses_what_another_vendor_signed(
    source: Path, appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    subprocess.run(["openssl", "genrsa", "-out", stranger, "2048"], check=True, capture_output=True)
    stranger.replace(vendor / "private.pem")
    build(source, vendor, tmp_path / "package.enc")

    done = jidoteki("package", "verify", tmp_path / "package.enc", "--root", appliance.root)

    assert done.returncode == 1
    assert "signature is not valid" in done.stderr and "(E1005)" in done.stderr


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    host.appliance.replace_file(host.appliance.etc / "debug.txt", "echo hello\n")
    return host


def open_bundle(bundle: Path, key: Path, into: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return jidoteki("debug-bundle", "open", bundle, "--key", key, "-o", into, *more)


def test_a_debug_bundle_of_a_running_appliance_is_opened(host: Host, tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(host.get("/debug").body)

    done = open_bundle(tmp_path / "bundle.tar", host.appliance.root / "vendor/private.pem", tmp_path / "opened")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "opened/debug/debug-1.log").read_text() == "Running: echo hello\nhello\n"
    assert list((tmp_path / "opened/logs").rglob("jidoteki-admin-api.log"))
    assert (tmp_path / "opened").stat().st_mode & 0o077 == 0


def test_another_vendors_key_does_not_open_it_and_leaves_nothing_behind(host: Host, tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(host.get("/debug").body)
    subprocess.run(["openssl", "genrsa", "-out", tmp_path / "other.pem", "2048"], check=True, capture_output=True)

    done = open_bundle(tmp_path / "bundle.tar", tmp_path / "other.pem", tmp_path / "opened")

    assert done.returncode == 1
    assert done.stderr == (
        f"jidoteki: --key {tmp_path / 'other.pem'} does not open bundle.tar: it is not the private key whose public "
        "half the appliance has as updates.pub, or the bundle is damaged\n"
    )
    assert not (tmp_path / "opened").exists() and not list(tmp_path.glob(".jidoteki-*"))


@pytest.mark.parametrize("bits", ["2048", "3072", "4096"])
def test_a_wrong_key_of_any_size_is_said_to_be_one(
    appliance: Appliance, vendor: Path, tmp_path: Path, bits: str
) -> None:
    (tmp_path / "bundle.tar").write_bytes(forged(appliance, []))
    subprocess.run(["openssl", "genrsa", "-out", tmp_path / "other.pem", bits], check=True, capture_output=True)

    done = open_bundle(tmp_path / "bundle.tar", tmp_path / "other.pem", tmp_path / "opened")

    assert done.returncode == 1 and "is not the private key whose public half" in done.stderr


def test_the_other_download_is_not_taken_for_a_bundle(host: Host, tmp_path: Path) -> None:
    (tmp_path / "logs.tar.gz").write_bytes(host.get("/logs").body)

    done = open_bundle(tmp_path / "logs.tar.gz", host.appliance.root / "vendor/private.pem", tmp_path / "opened")

    assert done.stderr == (
        "jidoteki: logs.tar.gz is no debug bundle, but a file compressed with gzip, such as GET /logs: try tar xzf\n"
    )


def test_a_directory_with_anything_in_it_is_refused(host: Host, tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(b"")
    (tmp_path / "opened").mkdir()
    (tmp_path / "opened/mine").touch()

    done = open_bundle(tmp_path / "bundle.tar", host.appliance.root / "vendor/private.pem", tmp_path / "opened")

    assert (done.returncode, done.stderr) == (1, f"jidoteki: --output {tmp_path / 'opened'} is not empty\n")


def tar_of(members: Iterable[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # it is one of them
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def forged(appliance: Appliance, members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return a bundle that anybody with the appliance's public key can make."""
    encrypted = io.BytesIO()
    writer = EncryptingWriter(encrypted, b"passphrase")
    writer.write(tar_of(members, "w:gz"))
    writer.close()
    key = seal((appliance.etc / "updates.pub").read_bytes(), b"passphrase\n")
    parts = {"debug.key.enc": key, "debug.tar.gz.enc": encrypted.getvalue(), "logs.tar.gz.enc": encrypted.getvalue()}
    return tar_of((tarfile.TarInfo(name), content) for name, content in parts.items())


@pytest.mark.parametrize(
    "members",
    [
        [(tarfile.TarInfo("../escaped"), b"x")],
        [(tarfile.TarInfo(ELSEWHERE), b"x")],
        [(link("out", "../.."), b""), (tarfile.TarInfo("out/escaped"), b"x")],
        [(tarfile.TarInfo("zeros"), bytes(3 * 1024 * 1024))],
    ],
    ids=["above", "absolute", "through a link", "longer than allowed"],
)
def test_a_forged_bundle_gets_nothing_out_of_the_directory(
    appliance: Appliance, vendor: Path, tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    work = tmp_path / "desk"
    work.mkdir()
    (work / "bundle.tar").write_bytes(forged(appliance, members))

    done = open_bundle(work / "bundle.tar", vendor / "private.pem", work / "opened", "--max-size", "1")

    assert done.returncode == 1
    assert "cannot be opened" in done.stderr
    assert [path.name for path in work.iterdir()] == ["bundle.tar"]
    assert not list(tmp_path.rglob("escaped")) and not Path(ELSEWHERE).exists()


def test_a_bundle_with_a_stranger_in_it_or_a_part_missing_is_refused(
    appliance: Appliance, vendor: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.tar").write_bytes(tar_of([(tarfile.TarInfo("surprise"), b"x")]))
    (tmp_path / "less.tar").write_bytes(tar_of([]))

    more = open_bundle(tmp_path / "more.tar", vendor / "private.pem", tmp_path / "opened")
    less = open_bundle(tmp_path / "less.tar", vendor / "private.pem", tmp_path / "opened")

    assert "'surprise' does not belong in a debug bundle" in more.stderr
    assert "There is no debug.key.enc in it" in less.stderr


def test_an_appliance_takes_the_license_that_license_build_made(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host()
    vendor = host.appliance.root / "vendor"
    (tmp_path / "license.json").write_text('{"users": 7, "name": "Größe"}')

    done = jidoteki(
        "license", "build", tmp_path / "license.json", "--recipient", vendor / "appliance.pub.asc",
        "--sign-key", vendor / "license-signing.asc", "-o", tmp_path / "license.asc", root=host.appliance.root,
    )  # fmt: skip
    answer = host.post("/license", "-F", f"license=@{tmp_path / 'license.asc'}")

    assert done.returncode == 0, done.stderr
    assert (answer.status, answer.json) == (200, {"users": 7, "name": "Größe"})


def test_a_license_of_broken_json_or_wrong_keys_is_told_and_not_written(appliance: Appliance, tmp_path: Path) -> None:
    vendor = appliance.root / "vendor"
    (tmp_path / "broken.json").write_text('{"users": 7,\n}')
    (tmp_path / "good.json").write_text("{}")
    output = ("-o", tmp_path / "license.asc")
    signing = vendor / "license-signing.asc"

    broken = jidoteki(
        "license", "build", tmp_path / "broken.json", "--recipient", signing, "--sign-key", signing, *output,
        root=appliance.root,
    )  # fmt: skip
    keyless = jidoteki(
        "license", "build", tmp_path / "good.json", "--recipient", vendor / "appliance.pub.asc",
        "--sign-key", vendor / "appliance.pub.asc", *output, root=appliance.root,
    )  # fmt: skip

    assert broken.returncode == keyless.returncode == 1
    assert re.search(r"broken\.json:[12]:[0-9]+: ", broken.stderr)
    assert "the vendor's OpenPGP secret key" in keyless.stderr
    assert not (tmp_path / "license.asc").exists()

"""`jidoteki provision`: what a machine lacks to be an appliance."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli.init import make
from jidoteki.core.cli.provision import SECRET
from jidoteki.testing import Host
from jidoteki.testing.host import COMMAND

USER, GROUP = 4321, 4322

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def root() -> Iterator[Path]:
    """A machine on which there is only the service's user, who gets there."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        root = Path(directory, "root")
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\njidoteki:x:{USER}:{GROUP}::/:/bin/false\n")
        yield root


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The keys of updates, as the documentation makes them."""
    directory = tmp_path / "keys"
    directory.mkdir()
    commands = (
        "openssl rand -hex 32 > updates.key\n"
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out private.pem\n"
        "openssl pkey -in private.pem -pubout -out updates.pub\n"
    )
    subprocess.run(["sh", "-ec", commands], cwd=directory, capture_output=True, check=True)
    return directory


Provision = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def provision(root: Path) -> Provision:
    def provision(*arguments: str | Path, umask: int = 0o077) -> subprocess.CompletedProcess[str]:
        argv: list[str | Path] = [*COMMAND, "provision", "--root", root, *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, umask=umask)

    return provision


def state(root: Path) -> dict[str, tuple[int, int, int, int, bytes]]:
    """Everything below a root: owners, modes, times and contents."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path.relative_to(root))] = status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns, content
    return found


ADMIN = "opt/jidoteki/tinyadmin"
MODES = {
    "opt": 0o755, "opt/jidoteki": 0o755, ADMIN: 0o755, f"{ADMIN}/etc": 0o755, f"{ADMIN}/bin": 0o755,
    f"{ADMIN}/log": 0o755, f"{ADMIN}/home/sftp/uploads": 0o755, "usr/local/etc": 0o755, "data": 0o755,
    f"{ADMIN}/etc/updates.key": 0o600, f"{ADMIN}/etc/updates.pub": 0o644, f"{ADMIN}/etc/version.txt": 0o644,
    "usr/local/etc/jidoteki-admin-api.json": 0o644, "usr/local/etc/jidoteki-admin-api.schema.json": 0o644,
}  # fmt: skip
OF_ROOT = {"opt", "opt/jidoteki", "usr", "usr/local"}


def test_all_is_made_with_its_modes(root: Path, keys: Path, provision: Provision) -> None:
    done = provision("--keys", keys)

    assert (done.returncode, done.stderr) == (0, "")
    assert {name: stat.S_IMODE((root / name).stat().st_mode) for name in MODES} == MODES
    assert (root / ADMIN / "etc/updates.key").read_bytes() == (keys / "updates.key").read_bytes()
    assert not list(root.rglob("private.pem"))
    assert f"Made {root}/usr/local/etc/jidoteki-admin-api.json" in done.stdout.splitlines()


@as_root
def test_all_belongs_to_the_services_user_but_for_what_is_above(root: Path, keys: Path, provision: Provision) -> None:
    provision("--keys", keys)

    made = {name: (found[0], found[1]) for name, found in state(root).items() if not name.startswith("etc")}
    assert {name for name, owner in made.items() if owner == (0, 0)} == OF_ROOT
    assert {owner for name, owner in made.items() if name not in OF_ROOT} == {(USER, GROUP)}


def test_what_is_there_stays_as_it_is(root: Path, keys: Path, provision: Provision) -> None:
    (root / ADMIN / "etc").mkdir(parents=True, mode=0o700)
    (root / ADMIN / "etc/version.txt").write_text("7.0.0\n")
    (root / ADMIN / "etc/updates.key").symlink_to("/nowhere")
    before = state(root)

    first = provision("--keys", keys)
    after = state(root)
    second = provision("--keys", keys)

    kept = [name for name in before if not (root / name).is_dir()]  # directories get new members
    assert [before[name] for name in kept] == [after[name] for name in kept]
    assert [before[name][:3] for name in before] == [after[name][:3] for name in before]
    assert "version.txt" not in first.stdout
    assert second.stdout.splitlines()[0] == "Nothing was missing"
    assert state(root) == after


def test_a_finished_appliance_lacks_little(tmp_path: Path, provision: Provision) -> None:
    made = make(tmp_path / "made", "the-token").root
    before = state(made)
    (made / "etc").mkdir()
    (made / "etc/passwd").write_text("jidoteki:x:0:0::/:/bin/false\n")

    subprocess.run([*COMMAND, "provision", "--root", made], check=True, capture_output=True)

    after = state(made)
    assert [name for name in before if before[name][4] != after[name][4] or before[name][:3] != after[name][:3]] == []


def test_it_serves_what_was_made(root: Path, keys: Path, provision: Provision) -> None:
    (root / "etc/passwd").write_text(f"jidoteki:x:{os.geteuid()}:{os.getegid()}::/:/bin/false\n")
    provision("--keys", keys, "--installed-version", "3.2.1")
    host = Host(Appliance(root, root / ADMIN), None)

    host.start()
    try:
        first = host.curl("POST", "/setup", "-F", "newtoken=the-token", auth="none")
        host.token = "the-token"
        version, endpoints = host.get("/version"), host.get("/endpoints")
    finally:
        host.end()

    assert first.status == 200
    assert "3.2.1" in str(version.json)
    assert "/settings" in str(endpoints.json)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("updates.key", None, "updates.key is missing"),
        ("updates.pub", None, "updates.pub is missing"),
        ("updates.key", "", "the passphrase, is empty"),
        ("updates.pub", "-----BEGIN PRIVATE KEY-----\n", "is a private key, which must not be on an appliance"),
        ("license.pub", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "is a secret key, and everybody may read this file"),
        ("license.key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "has to be the secret one of the appliance"),
    ],
)
def test_wrong_keys_are_refused_before_anything_is_made(
    root: Path, keys: Path, provision: Provision, name: str, content: str | None, told: str
) -> None:
    (keys / name).unlink() if content is None else (keys / name).write_text(content)
    before = state(root)

    done = provision("--keys", keys)

    assert done.returncode == 1
    assert told in done.stderr
    assert state(root) == before


def test_a_secret_key_without_armor_does_not_pass_for_a_certificate(
    root: Path, keys: Path, provision: Provision
) -> None:
    (keys / "license.pub").write_bytes(b"\x95\x03\x98\x04")  # as gpg --export-secret-keys begins; --export: 99 01 0d 04

    done = provision("--keys", keys)

    assert (done.returncode, "license.pub is a secret key" in done.stderr) == (1, True)


@as_root
def test_what_is_for_the_service_alone_is_for_no_group_that_others_are_in(
    root: Path, keys: Path, provision: Provision
) -> None:
    """Such as nogroup, where `adduser --system` puts a user: the service runs as the group of the user's name."""
    (root / "etc/group").write_text(f"root:x:0:\nothers:x:{GROUP}:\njidoteki:x:{GROUP + 1}:\n")
    make_systemd(root)

    assert provision("--keys", keys).returncode == 0

    key = (root / ADMIN / "keys/updates.key").stat()
    assert (key.st_uid, key.st_gid, stat.S_IMODE(key.st_mode)) == (0, GROUP + 1, 0o640)


@pytest.mark.parametrize("fault", ["no systemd", "root serves"])
def test_where_no_unit_is_started_jobs_are_the_services_own(root: Path, keys: Path, fault: str) -> None:
    make_systemd(root)
    if fault == "no systemd":
        (root / "usr/lib/systemd/systemd").unlink()
    user = ("--user", "root") if fault == "root serves" else ()

    done = subprocess.run([*COMMAND, "provision", "--root", root, "--keys", keys, *user], check=False)

    assert done.returncode == 0
    assert "jobs" not in json.loads((root / "usr/local/etc/jidoteki-admin-api.json").read_text())
    assert (root / ADMIN / "etc/updates.key").is_file() and not (root / ADMIN / "keys").exists()


def test_where_root_serves_its_secrets_are_for_root_alone(root: Path, keys: Path, provision: Provision) -> None:
    (keys / "license.key").write_bytes(b"-----BEGIN PGP PRIVATE KEY BLOCK-----")

    assert provision("--user", "root", "--keys", keys).returncode == 0

    assert {stat.S_IMODE((root / ADMIN / "etc" / name).stat().st_mode) for name in SECRET} == {0o600}


def test_an_updates_key_that_may_not_be_meant_so_is_told(root: Path, keys: Path, provision: Provision) -> None:
    (keys / "updates.key").write_bytes(b"passphrase\r\n")

    done = provision("--keys", keys)

    assert done.returncode == 0
    assert "its first line ends with CR LF, and the CR is a part of the passphrase" in done.stderr


def make_systemd(root: Path) -> None:
    """Put there what Debian's packages of systemd and of this service bring."""
    for name in ("usr/lib/systemd/systemd", "usr/lib/systemd/system/jidoteki-job@.service"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@as_root
def test_without_the_user_it_says_how_to_make_him(root: Path, provision: Provision) -> None:
    done = provision("--user", "nobody-knows")

    assert done.returncode == 1
    assert "There is no user nobody-knows. Make it with: useradd --system" in done.stderr
    assert not (root / "opt").exists()


def test_without_keys_it_says_what_is_missing(root: Path, provision: Provision) -> None:
    done = provision()

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "There are no keys of updates yet: call this again with --keys DIR"


def test_licenses_are_served_where_their_keys_are(root: Path, keys: Path, provision: Provision) -> None:
    (keys / "license.key").write_text("key")
    (keys / "license.pub").write_text("certificate")

    provision("--keys", keys)

    configuration = json.loads((root / "usr/local/etc/jidoteki-admin-api.json").read_text())
    assert "license" in configuration["endpoints"]
    assert stat.S_IMODE((root / ADMIN / "etc/license.key").stat().st_mode) == 0o600


def test_keys_of_licenses_may_come_later(root: Path, keys: Path, provision: Provision, tmp_path: Path) -> None:
    assert provision("--keys", keys).returncode == 0
    later = tmp_path / "later"
    later.mkdir()
    (later / "license.key").write_text("key")

    done = provision("--keys", later)

    assert done.stdout == f"Made {root / ADMIN / 'etc/license.key'}\n", done.stderr


@pytest.mark.parametrize("name", ["updates.key", "updates.pub", "license.key"])
def test_other_keys_than_those_there_are_told_and_stay(root: Path, keys: Path, provision: Provision, name: str) -> None:
    (keys / "license.key").write_text("key")
    assert provision("--keys", keys).returncode == 0
    before = (root / ADMIN / "etc" / name).read_bytes()
    (keys / name).write_bytes(b"other\n" + before)

    done = provision("--keys", keys)

    told = f"jidoteki: What is there stays, and differs from what was given: {root / ADMIN / 'etc' / name}. "
    assert (done.returncode, done.stderr.startswith(told)) == (1, True)
    assert (root / ADMIN / "etc" / name).read_bytes() == before


def test_backups_are_served_where_it_is_known_of_what(root: Path, provision: Provision) -> None:
    (root / ADMIN / "etc").mkdir(parents=True)
    (root / ADMIN / "etc/backup.txt").write_text("app\n")

    provision()

    configuration = json.loads((root / "usr/local/etc/jidoteki-admin-api.json").read_text())
    assert configuration["endpoints"] == ["settings", "certs", "backup"]


def test_where_root_makes_backups_it_goes_by_its_own_list(root: Path, provision: Provision) -> None:
    make_systemd(root)
    (root / ADMIN / "keys").mkdir(parents=True)
    (root / ADMIN / "keys/backup.txt").write_text("app\n")

    provision()

    configuration = json.loads((root / "usr/local/etc/jidoteki-admin-api.json").read_text())
    assert configuration["endpoints"] == ["settings", "certs", "backup"]
    assert os.readlink(root / ADMIN / "etc/backup.txt") == "../keys/backup.txt"


def test_something_else_in_the_place_of_a_directory_is_named(root: Path, provision: Provision) -> None:
    (root / "data").write_text("")

    done = provision()

    assert done.returncode == 1
    assert f"{root}/data cannot be made: File exists" in done.stderr


@as_root
def test_the_services_user_cannot_lead_root_elsewhere(root: Path, keys: Path, provision: Provision) -> None:
    admin = root / ADMIN
    admin.mkdir(parents=True)
    (root / "secret").mkdir()
    (admin / "etc").symlink_to(root / "secret")
    os.chown(admin, USER, GROUP)
    os.chown(admin / "etc", USER, GROUP, follow_symlinks=False)

    provision("--keys", keys)

    assert {path.stat().st_uid for path in (root / "secret").iterdir()} <= {USER}

"""The extension for TinyCore, on a system of busybox: unpacked, linked into place, and started by its init.d script."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NOT_BOOTED
from guestkit import ADMIN, TOKEN, WITHOUT_SYSTEMD, CannotBootError, Guest, base, booted, copied
from places import ROOT
from walks import commands

from jidoteki.testing import wait_until

PROVISION, START = commands("vendors.md", "On TinyCore")[0].splitlines()
SCRIPT = START.split()[0]
#: All that the system has beside busybox. curl is the test's own.
PROGRAMS = ("python3.11", "openssl", "curl")
INITTAB = "::sysinit:/bin/true\n::ctrlaltdel:/bin/true\n"


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("mksquashfs") or not shutil.which("unsquashfs"):
        pytest.skip("needs squashfs-tools")
    return build(tmp_path_factory.mktemp("tcz"))


def build(output: Path) -> Path:
    argv: list[str | Path] = [sys.executable, ROOT / "deb/tcz.py", "--output", output]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def system(extension: Path, suite: str, vendor: Path) -> Iterator[Path]:
    """A tree of busybox with the extension in it, and a directory of keys."""
    if suite != "bookworm":
        pytest.skip("one system of busybox is enough")
    try:
        debian = base(suite, "others", packages=WITHOUT_SYSTEMD)
    except CannotBootError as error:
        pytest.skip(f"{NOT_BOOTED}: {error}")
    with copied(debian) as copy:
        tree = copy.with_name("busybox")
        _make_busybox(copy, tree)
        loaded = tree / "tmp/tcloop/jidoteki-admin-api"
        loaded.parent.mkdir()
        subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-dest", loaded, extension], check=True)
        (tree / "root/keys").mkdir()
        for name in ("updates.key", "updates.pub"):
            (tree / "root/keys" / name).write_bytes((vendor / name).read_bytes())
        yield tree


def _make_busybox(debian: Path, tree: Path) -> None:
    """Make a tree of busybox's programs, and of Debian's libraries for what else there is."""
    for name in ("usr/bin", "usr/local/bin", "etc", "root", "dev", "proc", "sys", "run", "tmp", "var/run"):
        (tree / name).mkdir(parents=True)
    for name in ("lib", "lib64"):
        (debian / "usr" / name).rename(tree / "usr" / name)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name.replace('sbin', 'bin')}")
    for name in ("passwd", "group", "ssl"):
        (debian / "etc" / name).rename(tree / "etc" / name)
    for name in PROGRAMS:
        (debian / "usr/bin" / name).rename(tree / "usr/bin" / name)
    (tree / "usr/local/bin/python3.11").symlink_to("/usr/bin/python3.11")
    shutil.copy(debian / "bin/busybox", tree / "usr/bin/busybox")
    subprocess.run(["chroot", tree, "/bin/busybox", "--install", "-s", "/usr/bin"], check=True)
    (tree / "etc/inittab").write_text(INITTAB)
    (tree / "etc/os-release").write_text("ID=tinycore\n")


@pytest.fixture(scope="module")
def guest(system: Path) -> Iterator[Guest]:
    with booted(system, init="/sbin/init") as guest:
        guest.run("/bin/sh", "-ec", "cp -as /tmp/tcloop/jidoteki-admin-api/* /")
        guest.run("/bin/sh", "-ec", f"cd /root; {PROVISION}")
        guest.path(f"{ADMIN}/etc/api.token").write_text(TOKEN)
        yield guest


def act(guest: Guest, action: str) -> subprocess.CompletedProcess[str]:
    return guest.run("/bin/sh", "-c", START.replace("start", action), check=False)


def test_it_serves_by_its_script_with_busybox_alone(guest: Guest) -> None:
    assert guest.path("bin/sh").readlink().name == "busybox"
    assert "is not running" in act(guest, "status").stdout

    assert act(guest, "start").stdout == "jidoteki-admin-api is running\n"

    assert guest.serves()
    first = guest.path("var/run/jidoteki-admin-api.pid").read_text()
    assert act(guest, "reload").returncode == 0
    assert guest.serves()
    assert act(guest, "restart").returncode == 0
    assert guest.path("var/run/jidoteki-admin-api.pid").read_text() != first
    wait_until(guest.serves)
    assert act(guest, "status").stdout == "jidoteki-admin-api is running\n"
    assert act(guest, "stop").returncode == 0
    assert act(guest, "status").returncode == 3
    assert not guest.serves()


def test_what_stands_beside_it_is_true(extension: Path) -> None:
    digest = hashlib.md5(extension.read_bytes(), usedforsecurity=False).hexdigest()
    beside = {kind: extension.with_name(f"{extension.name}.{kind}").read_text() for kind in ("md5.txt", "dep", "list")}
    assert beside["md5.txt"] == f"{digest}  {extension.name}\n"
    assert beside["dep"].split() == ["python3.11.tcz", "openssl.tcz"]
    listed = subprocess.run(["unsquashfs", "-lls", extension], capture_output=True, text=True, check=True).stdout
    assert SCRIPT in beside["list"].splitlines()
    assert all(each.split()[1] == "root/root" for each in listed.splitlines() if each[:1] in "-dl" and " " in each)


def test_the_same_commit_gives_the_same_extension(extension: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == extension.read_bytes()

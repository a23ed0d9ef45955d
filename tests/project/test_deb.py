"""The Debian package, built as `make deb` does."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from places import ROOT

pytestmark = [
    pytest.mark.skipif(
        not shutil.which("dpkg-deb") or not (ROOT / ".git").exists(), reason="needs dpkg-deb, and a checkout by git"
    ),
    pytest.mark.timeout(300),
]

#: Which package has the libraries that compiled modules are linked to.
LIBRARIES = {
    "libc.so.6": "libc6", "libm.so.6": "libc6", "libpthread.so.0": "libc6", "ld-linux-x86-64.so.2": "libc6",
    "libgcc_s.so.1": "libgcc-s1", "libstdc++.so.6": "libstdc++6",
}  # fmt: skip
VENV = "opt/jidoteki/venv"

#: Each package takes a quarter of a minute of both processors.
builds_another = pytest.mark.skipif(not os.environ.get("JIDOTEKI_VM"), reason="make vm-test builds further packages")

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    def build(*arguments: str, umask: int = 0o022) -> Path:
        output = tmp_path_factory.mktemp("deb")
        argv: list[str | Path] = [sys.executable, ROOT / "deb/build.py", "--output", output, *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env=environment, cwd=output, umask=umask
        )
        if "Failed to fetch" in done.stderr or "error sending request" in done.stderr:
            pytest.skip(f"the packages of the lock cannot be fetched here: {done.stderr}")
        assert done.returncode == 0, done.stderr
        (package,) = output.glob("*.deb")
        assert done.stdout == f"{package}\n"
        return package

    return build


@pytest.fixture(scope="module")
def package(build: Build) -> Path:
    return build()


@pytest.fixture(scope="module")
def members(package: Path) -> dict[str, tarfile.TarInfo]:
    return {each.name.removeprefix("./"): each for each in tree(package)}


def tree(package: Path) -> tarfile.TarFile:
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    return tarfile.open(fileobj=BytesIO(packed))


def content(package: Path, name: str) -> bytes:
    file = tree(package).extractfile(f"./{name}")
    assert file
    return file.read()


def field(package: Path, name: str) -> str:
    done = subprocess.run(["dpkg-deb", "--field", package, name], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@builds_another
def test_the_same_commit_gives_the_same_bytes(build: Build, package: Path) -> None:
    assert build(umask=0o077).read_bytes() == package.read_bytes()


def test_everything_is_in_its_place(members: dict[str, tarfile.TarInfo]) -> None:
    wanted = {
        "opt/jidoteki/venv/bin/jidoteki", "opt/jidoteki/venv/pyvenv.cfg",
        "usr/bin/jidoteki", "usr/lib/systemd/system/jidoteki-admin-api.service",
        "usr/lib/systemd/system/jidoteki-admin-api.socket",
        "usr/lib/systemd/system/system.slice.d/jidoteki-admin-api.conf",
        "usr/lib/sysusers.d/jidoteki-admin-api.conf", "usr/lib/tmpfiles.d/jidoteki-admin-api.conf",
        "usr/share/bash-completion/completions/jidoteki", "usr/share/zsh/vendor-completions/_jidoteki",
        "usr/share/fish/vendor_completions.d/jidoteki.fish", "usr/share/man/man1/jidoteki.1.gz",
        "usr/share/doc/jidoteki-admin-api/copyright", "usr/share/doc/jidoteki-admin-api/changelog.gz",
        *(f"usr/share/doc/jidoteki-admin-api/examples/jidoteki-admin-api.{x}" for x in ("initd", "openrc", "runit")),
        f"{VENV}/lib/python3.11/site-packages/jidoteki/core/cli/__init__.py",
        f"{VENV}/lib/python3.11/site-packages/jidoteki/etc/jidoteki-admin-api.tmpfiles.conf",
    }  # fmt: skip

    assert wanted - members.keys() == set()
    assert members["usr/bin/jidoteki"].linkname == "/opt/jidoteki/venv/bin/jidoteki"
    assert members["opt/jidoteki/venv/bin/python3"].linkname == "/usr/bin/python3.11"


def test_all_belongs_to_root_and_nothing_tells_of_the_building_machine(
    package: Path, members: dict[str, tarfile.TarInfo]
) -> None:
    strange = [
        name
        for name, each in members.items()
        if (each.uid, each.gid) != (0, 0) or (each.mode & 0o022 and not each.issym()) or "__pycache__" in name
    ]
    packed = tree(package)
    naming = [
        each.name
        for each in packed
        if each.isfile() and str(ROOT).encode() in (packed.extractfile(each) or BytesIO()).read()
    ]

    assert strange == []
    assert naming == []
    assert not any(name.endswith(("direct_url.json", "uv_cache.json", ".lock")) for name in members)


def test_the_locked_versions_are_in_it_and_no_others(members: dict[str, tarfile.TarInfo]) -> None:
    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    lock = (ROOT / "requirements-runtime.txt").read_text()
    locked = {(normal(name), version) for name, version in re.findall(r"^(\S+)==([^\s;]+)", lock, re.MULTILINE)}
    found = {
        (normal(each[1]), each[2])
        for name in members
        if (each := re.fullmatch(r".*/site-packages/([^/]+)-([^/-]+)\.dist-info", name))
    }

    assert {name for name, _ in found - locked} == {"jidoteki-admin-api"}


@pytest.mark.skipif(not shutil.which("readelf"), reason="readelf tells which libraries are needed")
def test_it_depends_on_what_it_needs(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    modules = list((tmp_path / VENV).rglob("*.so"))
    said = subprocess.run(["readelf", "-d", *modules], capture_output=True, text=True, check=True).stdout
    needed = {LIBRARIES[name] for name in re.findall(r"\(NEEDED\).*\[(.*)\]", said)}
    depends = {each.split()[0] for each in field(package, "Depends").split(", ")}

    assert len(modules) >= 10
    assert needed | {"python3.11", "systemd", "dbus", "polkitd", "openssl"} == depends


def test_its_unit_starts_its_command(package: Path) -> None:
    unit = content(package, "usr/lib/systemd/system/jidoteki-admin-api.service").decode()

    assert "\nExecStart=/usr/bin/jidoteki serve\n" in unit
    assert "/usr/local/bin" not in unit


def test_the_manual_page_has_all_commands(package: Path) -> None:
    from jidoteki.core.cli import COMMANDS

    page = gzip.decompress(content(package, "usr/share/man/man1/jidoteki.1.gz")).decode()

    titles = {each.replace("\\", "") for each in re.findall(r"^\.SS jidoteki (\S+)", page, re.MULTILINE)}
    assert COMMANDS.keys() <= titles
    assert ".SS jidoteki package build " in page


@pytest.mark.skipif(not shutil.which("bash"), reason="bash completes")
def test_bash_completes_commands(package: Path, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_bytes(content(package, "usr/share/bash-completion/completions/jidoteki"))
    asked = ". $0; COMP_WORDS=(jidoteki pack); COMP_CWORD=1; _jidoteki_completion $1/jidoteki; echo ${COMPREPLY[@]}"

    done = subprocess.run(
        ["bash", "-c", asked, script, Path(sys.executable).parent],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "package\n"


@pytest.mark.parametrize("script", ["preinst", "postinst", "prerm", "postrm"])
def test_its_scripts_are_plain_shell(package: Path, tmp_path: Path, script: str) -> None:
    subprocess.run(["dpkg-deb", "--control", package, tmp_path], check=True)

    assert (tmp_path / script).stat().st_mode & 0o777 == 0o755
    assert subprocess.run(["sh", "-n", tmp_path / script], capture_output=True, text=True).stderr == ""


@builds_another
def test_other_suites_and_architectures_get_their_own(build: Build) -> None:
    package = build("--suite", "trixie", "--architecture", "arm64")

    assert package.name.endswith("+deb13_arm64.deb")
    assert field(package, "Architecture") == "arm64"
    assert "python3.13" in field(package, "Depends").split(", ")
    assert any(each.name.endswith(".cpython-313-aarch64-linux-gnu.so") for each in tree(package))

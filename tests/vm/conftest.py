"""Guests with the package installed. `make vm-test` sets JIDOTEKI_VM to the suites; otherwise nothing is collected."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import pytest
from guestkit import ADMIN, TOKEN, CannotBootError, Guest, base, booted, copied, probed
from machinekit import Machine, make_image, running
from places import ROOT

SUITES = os.environ.get("JIDOTEKI_VM", "").split()
NOT_BOOTED = "NO GUEST CAN BE BOOTED HERE"
#: What takes long, or the whole machine.
SLOW = [f"test_{name}.py" for name in ("latency", "power_cuts", "reboots", "update_restarts", "updates_of_the_system")]
collect_ignore_glob = ([] if os.environ.get("JIDOTEKI_VM_SLOW") else SLOW) if SUITES else ["test_*.py"]


class Update(NamedTuple):
    """An update package, newer than all before it."""

    version: str
    path: Path


class BuildUpdate(Protocol):
    """Builds an update package of a script, in which `{version}` is its version, and of further programs."""

    def __call__(self, script: str, others: Mapping[str, str] = ...) -> Update: ...


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def tree(suite: str) -> Path:
    """The tree of a suite. Where no guest can be booted, all tests are skipped with the reason."""
    try:
        return probed(base(suite))
    except CannotBootError as error:
        pytest.skip(f"{NOT_BOOTED}: {error}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests of a suite one after the other, in one process, so that its guest is made once."""

    def suite_of(item: pytest.Item) -> str:
        called = getattr(item, "callspec", None)
        return str(called.params.get("suite", "")) if called else ""

    for item in items:
        if suite := suite_of(item):
            item.add_marker(pytest.mark.xdist_group(suite))
    items.sort(key=suite_of)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that nothing was tested, where no guest can be booted."""
    reasons = {str(report.longrepr[2]) for report in terminalreporter.getreports("skipped") if report.longrepr}
    for reason in sorted(each for each in reasons if NOT_BOOTED in each):
        terminalreporter.section("NOT TESTED ON A WHOLE SYSTEM", "!", red=True)
        terminalreporter.line(reason, red=True)


@pytest.fixture(scope="session")
def deb(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this checkout."""
    argv: list[str | Path] = [sys.executable, ROOT / "deb/build.py", "--suite", suite, "--output"]
    done = subprocess.run([*argv, tmp_path_factory.mktemp("deb")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's keys, made as the documentation says."""
    directory = tmp_path_factory.mktemp("vendor")
    commands = (
        "openssl rand -hex 32 > updates.key\n"
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out private.pem\n"
        "openssl pkey -in private.pem -pubout -out updates.pub\n"
    )
    subprocess.run(["sh", "-ec", commands], cwd=directory, capture_output=True, check=True)
    return directory


@pytest.fixture(scope="session")
def build_update(vendor: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildUpdate:
    numbers = itertools.count(1)

    def build(script: str, others: Mapping[str, str] = MappingProxyType({})) -> Update:
        source = tmp_path_factory.mktemp("source")
        update = Update(f"1.{next(numbers)}.0", source.with_suffix(".enc"))
        for name, content in {"update.sh": script, **others}.items():
            (source / name).write_text(content.format(version=update.version))
        keys = ("--key", vendor / "updates.key", "--sign-key", vendor / "private.pem")
        argv: list[str | Path] = [Path(sys.executable).with_name("jidoteki"), "package", "build", source, *keys]
        subprocess.run([*argv, "--version", update.version, "-o", update.path], check=True, capture_output=True)
        return update

    return build


@pytest.fixture(scope="session")
def _emulated(
    suite: str, tree: Path, deb: Path, vendor: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("machine")
    try:
        image = make_image(suite, directory, deb, vendor)
    except CannotBootError as error:
        pytest.skip(f"{NOT_BOOTED}: {error}")
    (directory / "own").mkdir()
    with running(image, directory / "own") as machine:
        yield machine


@pytest.fixture
def machine(_emulated: Machine) -> Machine:
    """A machine that qemu emulates, which the tests share: it serves at the start of each, after all cuts before."""
    _emulated.go_on()
    return _emulated


@pytest.fixture
def bare(tree: Path) -> Iterator[Path]:
    """A copy of a tree without the product."""
    with copied(tree) as copy:
        yield copy


@pytest.fixture(scope="session")
def _machine(tree: Path, deb: Path, vendor: Path) -> Iterator[Guest]:
    with copied(tree) as copy, booted(copy) as guest:
        guest.path("/root/product.deb").write_bytes(deb.read_bytes())
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        keys = guest.path("/root/keys")
        keys.mkdir()
        for name in ("updates.key", "updates.pub"):
            (keys / name).write_bytes((vendor / name).read_bytes())
        guest.path(f"{ADMIN}/keys/backup.txt").write_text(".\n")
        guest.run("jidoteki", "provision", "--keys", "/root/keys", timeout=120)
        assert guest.request("POST", "/setup", "-F", f"newtoken={TOKEN}", token=None)[0] == 200, guest.journal()
        yield guest


@pytest.fixture
def guest(_machine: Guest) -> Iterator[Guest]:
    """A guest that all tests share, with the product provisioned and set up; its service runs at the start of each."""
    _machine.sh("systemctl reset-failed; systemctl start jidoteki-admin-api")
    yield _machine
    assert _machine.path(f"{ADMIN}/etc/api.token").exists()

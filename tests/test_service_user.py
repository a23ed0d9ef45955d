"""Commands that root calls on an appliance whose service runs as a user of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.testing.host import COMMAND

NOBODY = 65534
OTHER = 65533

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


def jidoteki(appliance: Appliance, *arguments: str, user: int = 0) -> subprocess.CompletedProcess[str]:
    root = [] if arguments == ("--version",) else ["--root", str(appliance.root)]
    argv = [*COMMAND, *arguments, *root]
    return subprocess.run(argv, capture_output=True, text=True, user=user, group=user, extra_groups=[], check=False)


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    """One that belongs to the service's user but for the key of the vendor, as the unit for systemd has it."""
    directory = Path(tempfile.mkdtemp(prefix="jidoteki-"))  # that user has no way into other tests' directories
    directory.chmod(0o755)
    made = Appliance(directory / "root")
    try:
        jidoteki(made, "--version", user=NOBODY).check_returncode()
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("nobody has no way to this Python")
    subprocess.run([*COMMAND, "init", str(made.root)], check=True, capture_output=True)
    made.prepare()
    build_package(
        vendor_files(directory), "1.1.0", made.root / "vendor/updates.key", made.root / "vendor/private.pem",
        made.uploads / "software_package-1.1.0.enc",
    )  # fmt: skip
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", made.root], check=True)
    os.chown(made.etc / "updates.pub", 0, 0)
    yield made
    shutil.rmtree(directory)


def vendor_files(directory: Path) -> Path:
    source = directory / "source"
    source.mkdir()
    (source / "update.sh").write_text("#!/bin/sh\nid -u\n")
    return source


def of_root(appliance: Appliance) -> list[str]:
    found = [path for path in appliance.admin.rglob("*") if path.lstat().st_uid == 0]
    return sorted(str(path.relative_to(appliance.admin)) for path in found)


def test_an_update_by_root_is_the_services_and_leaves_nothing_of_roots(appliance: Appliance) -> None:
    done = jidoteki(appliance, "update")

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "The update was installed"), done.stderr
    assert f"\n{NOBODY}\n" in (appliance.log / "update.log").read_text()
    assert of_root(appliance) == ["etc/updates.pub"]


def test_an_update_by_somebody_else_is_refused_and_changes_nothing(appliance: Appliance) -> None:
    done = jidoteki(appliance, "update", user=OTHER)

    assert done.returncode == 1
    assert "The service runs as nobody, and so must this: run it as root, or: sudo -u nobody" in done.stderr
    assert (appliance.etc / "version.txt").read_text() == "1.0.0\n"


@pytest.mark.parametrize("command", ["check", "plugins", "openapi"])
def test_root_is_shown_what_the_service_sees(appliance: Appliance, command: str) -> None:
    by_service = jidoteki(appliance, command, user=NOBODY)
    by_root = jidoteki(appliance, command)

    assert (by_root.returncode, by_root.stdout, by_root.stderr) == (
        by_service.returncode, by_service.stdout, by_service.stderr,
    )  # fmt: skip

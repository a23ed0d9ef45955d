"""Commands of root on an appliance whose service runs as an ordinary user run as that user."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli.init import make

NOBODY = 65534
#: Other users may not be able to run the tests' interpreter, but the system's of the same version.
PYTHONS = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")


def by_nobody(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as an ordinary user without any privilege."""

    def step_down() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)

    return subprocess.run(argv, capture_output=True, text=True, preexec_fn=step_down, timeout=120, check=False)


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """Yield a Python that the user can run, with the packages of the tests."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        made = Path(directory, "bin/python")
        for each in filter(shutil.which, PYTHONS):
            subprocess.run([each, "-m", "venv", "--without-pip", "--clear", directory], check=True)
            packages = next(Path(directory).glob("lib/python3*/site-packages"))
            (packages / "tests.pth").write_text("\n".join(path for path in sys.path if os.path.isdir(path)))
            subprocess.run(["chmod", "-R", "go+rX", directory], check=True)
            with contextlib.suppress(OSError):
                if by_nobody(made, "-c", "import jidoteki.core.cli.check, cryptography.x509").returncode == 0:
                    yield made
                    return
    pytest.skip("needs a Python that another user can run")


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    """Yield an appliance of another user, on which the service has run."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        made = make(Path(directory, "root"), "the-token")
        made.prepare()
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", directory], check=True)
        yield made


def owners(directory: Path) -> set[int]:
    return {path.lstat().st_uid for path in directory.rglob("*")}


def command(python: Path, *arguments: str | Path) -> list[str | Path]:
    return [python, "-c", "from jidoteki.core.cli import main; main()", *arguments]


def by_root(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", ["update", "check"])
def test_a_third_user_is_refused_with_the_command_that_works(appliance: Appliance, python: Path, name: str) -> None:
    os.chown(appliance.jobs, 1, 1)

    refused = by_nobody(*command(python, name, "--root", appliance.root))

    assert refused.returncode != 0
    assert f"sudo -u daemon jidoteki {name} --root {appliance.root}" in refused.stderr


def test_a_token_that_the_services_user_cannot_read_is_told_so(appliance: Appliance, python: Path) -> None:
    token = appliance.etc / "api.token"
    os.chown(token, 0, 0)
    token.chmod(0o600)

    told = by_root(*command(python, "check", "--root", appliance.root))

    assert "nobody cannot read it (Permission denied), so nobody can use the API" in told.stdout
    assert f"Run: chown nobody {token}" in told.stdout


def test_an_update_by_root_leaves_the_service_all_its_files(appliance: Appliance, python: Path) -> None:
    vendor = appliance.root / "vendor"
    source = appliance.root / "source"
    source.mkdir()
    (source / "update.sh").write_text("#!/bin/sh\nid -u\n")
    keys = ("--key", vendor / "updates.key", "--sign-key", vendor / "private.pem")
    package = appliance.uploads / "software_package-1.1.0.enc"
    built = by_root(*command(python, "package", "build", source, "--version", "1.1.0", *keys, "-o", package))
    assert built.returncode == 0, built.stderr
    shutil.chown(package, NOBODY, NOBODY)
    verified = by_root(*command(python, "package", "verify", package, "--root", appliance.root))
    assert verified.returncode == 0, verified.stderr

    done = by_root(*command(python, "update", "--root", appliance.root))

    assert done.returncode == 0, done.stderr
    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"
    assert f"\n{NOBODY}\n" in next(appliance.jobs.glob("*-update.log")).read_text().replace("] ", "\n")
    assert owners(appliance.admin) == {NOBODY}


def test_root_sees_in_a_check_what_the_service_sees(appliance: Appliance, python: Path) -> None:
    check = command(python, "check", "--root", appliance.root)
    users = by_nobody(*check)

    roots = by_root(*check)

    assert (roots.returncode, roots.stdout) == (users.returncode, users.stdout)
    assert owners(appliance.admin) == {NOBODY}


@pytest.mark.parametrize("name", ["license.key", "license.pub"])
def test_a_key_of_licenses_that_the_service_cannot_read_is_found(python: Path, appliance: Appliance, name: str) -> None:
    path = appliance.etc / name
    os.chown(path, 0, 0)
    path.chmod(0o600)
    (appliance.etc / "license.asc").unlink()

    found = by_root(*command(python, "check", "--root", appliance.root))

    assert found.returncode == 1
    assert f"POST /license refuses each license: {name} cannot be read: Permission denied" in found.stdout
    assert f"chown {NOBODY} {path}" in found.stdout

"""The product as it is installed: as a wheel made as the manual says, and editable."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from environments import OFFLINE
from places import ROOT

PAGE = (ROOT / "docs/vendors.md").read_text()
NOT_SHIPPED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "bench", "tests")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, because building leaves files behind."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("wheel") / "checkout", symlinks=True, ignore=NOT_SHIPPED))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which the dependencies are found, and this checkout is not."""
    packages = tmp_path_factory.mktemp("dependencies")
    for directory in filter(Path.is_dir, map(Path, site.getsitepackages())):  # Debian names some that are not there
        for each in directory.iterdir():
            if "jidoteki" not in each.name:
                (packages / each.name).symlink_to(each)
    return {**os.environ, **OFFLINE, "PYTHONPATH": str(packages), "PIP_ROOT_USER_ACTION": "ignore"}


@pytest.fixture(scope="module")
def installed(checkout: Path, environment: dict[str, str]) -> Path:
    """The environment that the manual's commands make."""
    block = re.search(r"```sh\n(pip wheel.*?)```", PAGE, re.DOTALL)
    assert block
    here = checkout.parent
    (here / "bin").mkdir()
    (here / "bin/pip").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pip "$@"\n')
    (here / "bin/pip").chmod(0o755)
    (here / "bin/python3").symlink_to(sys.executable)
    commands = block[1].replace("/opt/", f"{here}/").replace("/usr/local/bin", str(here / "bin"))
    path = f"{here / 'bin'}:{os.environ['PATH']}"

    done = subprocess.run(
        ["sh", "-e"], input=commands, cwd=checkout, env={**environment, "PATH": path}, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert done.stdout.splitlines()[-1] == f"jidoteki, version {version}"
    return here / "jidoteki-admin-api"


def test_a_wheel_holds_every_file_of_the_packages(installed: Path, checkout: Path) -> None:
    (wheel,) = (checkout / "dist").glob("*.whl")
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    sources = {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / directory)}"
        for package, directory in packages.items()
        for path in (ROOT / directory).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert sources - set(zipfile.ZipFile(wheel).namelist()) == set()
    assert len(sources) > 150


def test_what_is_installed_makes_an_appliance_and_describes_it(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    def jidoteki(*arguments: str) -> str:
        argv: list[str | Path] = [installed / "bin/jidoteki", *arguments, "--root", str(tmp_path / "root")]
        argv = argv if arguments[0] != "init" else [*argv[:-2], tmp_path / "root"]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
        return str(done.stdout)

    jidoteki("init")

    assert "/api/v1/admin/version" in jidoteki("openapi")
    assert "in service" in jidoteki("plugins")


PLUGIN = ROOT / "examples/probe/jidoteki_probe.py"


def mypy(python: Path, environment: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Check the types of a plugin as its author does."""
    shutil.copy(PLUGIN, directory)
    argv: list[str | Path] = [python, "-m", "mypy", "--strict", "--cache-dir", directory / "cache", PLUGIN.name]
    return subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)


def test_a_plugin_is_typed_beside_what_is_installed(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    done = mypy(installed / "bin/python", environment, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plugin_is_typed_beside_an_editable_installation(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], env=environment, check=True)
    python = tmp_path / "environment/bin/python"
    install: list[str | Path] = [python, "-m", "pip", "install", "-e", checkout]
    made = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr

    done = mypy(python, environment, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    where: list[str | Path] = [python, "-c", "import jidoteki.core; print(jidoteki.core.__file__)"]
    assert str(checkout) in subprocess.run(where, env=environment, capture_output=True, text=True, check=True).stdout

"""The example plugins are installed with pip, pass their own tests and are typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environments import make_environment, run
from places import ROOT

EXAMPLES = ("probe", "metrics", "forwarder", "firewall")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with all examples installed from copies, because building leaves files behind."""
    directory = tmp_path_factory.mktemp("examples")
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*_cache")
    projects = [
        shutil.copytree(ROOT / "examples" / name, directory / "projects" / name, ignore=ignored) for name in EXAMPLES
    ]
    programs = make_environment(directory / "environment")
    installed = run(programs, "pip", "install", *projects)
    assert installed.returncode == 0, installed.stderr
    return programs


@pytest.mark.parametrize("example", ["metrics", "forwarder", "firewall"])  # probe is that of the tutorial
def test_an_example_installed_by_pip_beside_the_others_passes_its_own_tests(example: str, environment: Path) -> None:
    done = run(environment, "pytest", "-q", environment.parent.parent / "projects" / example)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The import package as it is once installed."""
    directory = tmp_path_factory.mktemp("types")
    (directory / "jidoteki").mkdir()
    for part in ("core", "hookspecs", "testing"):
        (directory / "jidoteki" / part).symlink_to(ROOT / part)
    return directory


@pytest.mark.parametrize("directory", [*(f"examples/{name}" for name in EXAMPLES), "tests/samples/hooks"])
def test_an_example_is_typed(directory: str, types: Path) -> None:
    path = ROOT / directory
    environment = os.environ | {"MYPYPATH": f"{types}:{path}:{path / 'tests'}"}

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--namespace-packages", "--explicit-package-bases", "--config-file",
         os.devnull, "--cache-dir", types / "cache", path],
        capture_output=True, text=True, env=environment, cwd=types,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr

"""The example plugins are installed with pip, pass their own tests and are typed."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ("probe", "metrics", "forwarder")
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
COMMANDS = {
    "pip": "from pip._internal.cli.main import main",
    "pytest": "from pytest import main",
    "jidoteki": "from jidoteki.core.cli import main",
    "mypy": "from mypy.__main__ import console_entry as main",
}

pytestmark = pytest.mark.timeout(300)


def make_environment(directory: Path) -> Path:
    """Make a virtual environment that also sees what is installed in this one, and return its programs' directory."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (packages,) = directory.glob("lib/python3*/site-packages")
    lines = [f"import site; site.addsitedir({parent!r})" for parent in site.getsitepackages()]
    (packages / "parent.pth").write_text("\n".join(lines) + "\n")
    programs = directory / "bin"
    for name, start in COMMANDS.items():
        (programs / name).write_text(f"#!{programs}/python\nimport sys\n{start}\nsys.exit(main())\n")
        (programs / name).chmod(0o755)
    return programs


def run(programs: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of an environment, with pip kept off the network."""
    return subprocess.run(
        [programs / argv[0], *argv[1:]], capture_output=True, text=True, timeout=280, env=os.environ | OFFLINE
    )


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


@pytest.mark.parametrize("example", ["metrics", "forwarder"])  # probe is that of the tutorial
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


@pytest.mark.parametrize("directory", [*(f"examples/{name}" for name in EXAMPLES), "tests/hooks"])
def test_an_example_is_typed(directory: str, types: Path) -> None:
    path = ROOT / directory
    environment = os.environ | {"MYPYPATH": f"{types}:{path}:{path / 'tests'}"}

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--namespace-packages", "--explicit-package-bases", "--config-file",
         os.devnull, "--cache-dir", types / "cache", path],
        capture_output=True, text=True, env=environment, cwd=types,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr

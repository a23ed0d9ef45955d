"""The example plugins are installed with pip, each tested in the environment it is installed in."""

from __future__ import annotations

import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ("probe", "metrics", "forwarder")


def make_environment(directory: Path) -> Path:
    """Make a virtual environment that also sees what is installed in this one, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (packages,) = directory.glob("lib/python3*/site-packages")
    lines = [f"import site; site.addsitedir({parent!r})" for parent in site.getsitepackages()]
    (packages / "parent.pth").write_text("\n".join(lines) + "\n")
    return directory / "bin/python"


def pip_install(python: Path, project: Path) -> None:
    """Install a project from its directory with the tools and the packages that are here already."""
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index",
         "--no-build-isolation", project],
        check=True,
    )  # fmt: skip


def copy_of(example: str, directory: Path) -> Path:
    """Copy a project, because building it leaves files behind."""
    import shutil

    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*_cache")
    return Path(shutil.copytree(ROOT / "examples" / example, directory / example, ignore=ignored))


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_installed_by_pip_and_passes_its_own_tests(example: str, tmp_path: Path) -> None:
    project = copy_of(example, tmp_path)
    python = make_environment(tmp_path / "environment")
    pip_install(python, project)

    done = subprocess.run([python, "-m", "pytest", "-q", project], capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout

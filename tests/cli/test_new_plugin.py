"""`jidoteki new-plugin` makes a typed project; the tutorial's test installs one and runs its tests."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from places import ROOT

from jidoteki.core.cli.new_plugin import command
from jidoteki.testing.host import COMMAND


def new_plugin(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory."""
    return subprocess.run([*COMMAND, "new-plugin", *arguments], capture_output=True, text=True, cwd=directory)


def test_a_new_plugin_is_typed_and_lint_free(tmp_path: Path) -> None:
    types = tmp_path / "types/jidoteki"
    types.mkdir(parents=True)
    for part in ("core", "hookspecs", "testing"):
        (types / part).symlink_to(ROOT / part)
    project = tmp_path / "project"
    new_plugin("disk-usage", "--directory", str(project), directory=tmp_path)

    typed = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", "--cache-dir", tmp_path / "cache", "."],
        capture_output=True, text=True, cwd=project, env={"MYPYPATH": str(types.parent)},
    )  # fmt: skip
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,B,UP", "."],
        capture_output=True, text=True, cwd=project,
    )  # fmt: skip

    assert typed.returncode == 0, typed.stdout
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("name", ["Disk", "disk_usage", "1disk", "-disk", "disk/usage", "..", "class", "x" * 33, ""])
def test_a_name_that_no_plugin_can_have_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    done = new_plugin("--", name, directory=tmp_path)

    assert done.returncode == 1
    assert "must be up to 32 lower-case letters" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_hosts_own_plugins_is_refused(tmp_path: Path) -> None:
    done = new_plugin("update", directory=tmp_path)

    assert done.returncode == 1
    assert "update is a plugin of the host already" in done.stderr


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")

    done = new_plugin("disk", "--directory", ".", directory=tmp_path)

    assert done.returncode == 1
    assert done.stderr == "jidoteki: . is not empty\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_to_do_next_installs_what_it_needs(tmp_path: Path) -> None:
    told = new_plugin("disk", directory=tmp_path).stdout.partition("Next:\n")[2]
    commands = [line.strip() for line in told.splitlines() if line.startswith("  ")]
    extra = tomllib.loads((tmp_path / "jidoteki-disk/pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert commands == ["cd jidoteki-disk", "pip install -e '.[test]'", "pytest", "mypy --strict ."]
    assert "it has a page in the dashboard" in told
    assert {requirement.partition(">")[0] for requirement in extra["test"]} == {"pytest", "pytest-aiohttp", "mypy"}
    pages = [(ROOT / "docs/plugins.md").read_text(), (tmp_path / "jidoteki-disk/README.md").read_text()]
    assert [all(command in page for command in commands[1:]) for page in pages] == [True, True]


def test_the_command_is_documented() -> None:
    assert command.help
    assert "new-plugin" in subprocess.run([*COMMAND, "--help"], capture_output=True, text=True).stdout

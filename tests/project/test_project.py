"""What the project's own files say of each other: pins, versions of Python, pages of decisions."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from places import ROOT

LOCKS = ["requirements-runtime.txt", "requirements.txt", "requirements-docs.txt", "requirements-mutants.txt"]


@pytest.fixture(scope="module")
def project() -> Any:
    """The project's table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> list[tuple[str, str]]:
    """What a file pins: packages, each with its version, markers and hashes; some twice, for versions of Python."""
    return re.findall(r"^([a-z][a-z0-9-]*)(==.*(?:\n +--hash=.*)+)", (ROOT / name).read_text(), re.MULTILINE)


def names(requirements: list[str]) -> set[str]:
    """The packages in a list of requirements."""
    return {re.split(r"[<>=~! ]", each)[0] for each in requirements}


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_pinned_with_hashes(name: str) -> None:
    packages = re.findall(r"^([a-z][^=\s]*)", (ROOT / name).read_text(), re.MULTILINE)

    assert packages == [each for each, _ in pins(name)]
    assert packages


def test_vendors_install_what_the_tests_run_with(project: Any) -> None:
    runtime, developers = {*pins("requirements-runtime.txt")}, {*pins("requirements.txt")}

    assert runtime < developers
    assert names(project["dependencies"]) <= {each for each, _ in runtime}
    assert names(project["optional-dependencies"]["dev"]) <= {each for each, _ in developers - runtime}


def test_each_version_of_python_that_is_promised_is_tested(project: Any) -> None:
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    tested = re.findall(
        r'"(3\.\d+)"', re.findall(r"python: \[.*\]", (ROOT / ".github/workflows/ci.yml").read_text())[0]
    )

    assert promised == tested
    assert project["requires-python"] == f">={promised[0]}"


def test_each_decision_is_in_the_index_and_in_the_usual_form() -> None:
    directory = ROOT / "docs/decisions"
    pages = {path.name: path.read_text() for path in directory.glob("*.md")}
    listed = re.findall(r"^- \[(.*)\]\(([\w-]+\.md)\)$", pages.pop("index.md"), re.MULTILINE)

    assert {name: page.partition("\n")[0] for name, page in pages.items()} == {
        name: f"# {title}" for title, name in listed
    }
    for page in pages.values():
        assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [
            "Context", "Decision", "Why", "Not taken", "What would reopen it",
        ]  # fmt: skip


def test_the_changelog_keeps_to_its_format(project: Any) -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    versions = [line for line in lines if line.startswith("## ")]
    kinds = {line for line in lines if line.startswith("### ")}

    assert versions[0] == "## [Unreleased]"
    assert all(re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", each) for each in versions[1:])
    assert kinds <= {f"### {each}" for each in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")}

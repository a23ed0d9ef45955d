"""The documentation is true: its sessions are run, its tables are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt
from places import ROOT

from jidoteki.core.config.loading import defaults
from jidoteki.core.config.sections import SECTIONS
from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A running `make run`: its port and its environment."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    process = subprocess.Popen([*COMMAND, "demo", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    listening = next(line for line in process.stdout if line.startswith("Listening on "))
    yield str(urlsplit(listening.removeprefix("Listening on ")).port), environment
    process.terminate()
    process.wait(20)


def test_the_session_in_the_readme_works_when_pasted(demo: tuple[str, dict[str, str]]) -> None:
    port, environment = demo
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    done = subprocess.run(
        ["sh", "-e"], input="".join(blocks).replace("8443", port), env=environment,
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    output = done.stdout
    assert '{"Status":"200 OK"}' in output
    assert output.count('{"version":"1.0.0"}') == 2
    assert '{"Status":"202 Accepted","Location":"/api/v1/admin/update"}' in output
    assert "Hello from the update" in output
    assert output.rstrip().endswith('{"version":"1.1.0"}')


def test_every_curl_line_in_the_pages_works_on_a_new_appliance(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host(token=None)
    pages = ("docs/api.md", "docs/command-line.md")
    lines = [line for page in pages for line in re.findall(r"^    (curl .*)$", (ROOT / page).read_text(), re.MULTILINE)]
    (tmp_path / "token").write_text("yourtoken\n")
    (tmp_path / ".curlrc").write_text("fail\nsilent\nshow-error\n")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CURL_HOME": str(tmp_path)}

    done = subprocess.run(
        ["sh", "-e"], input="\n".join(lines).replace("https://HOST:8443", host.url), env=environment, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) == 3
    accepted = '{"Status":"202 Accepted","Location":"/api/v1/admin/settings"}'
    assert done.stdout == f'{{"Status":"200 OK"}}{accepted}{{"version":"1.0.0"}}'


def test_every_configuration_key_is_documented() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    names = [
        f"{section}.{key}" if isinstance(value, dict) and value else section
        for section, value in defaults().items()
        for key in (value if isinstance(value, dict) and value else [""])
    ]

    assert [name for name in names if f"`{name}`" not in page] == []
    assert len(names) > len(SECTIONS)


def test_every_package_of_the_source_tree_is_distributed() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        "jidoteki." + ".".join(path.parent.relative_to(ROOT).parts)
        for top in settings["package-dir"].values()
        for path in (ROOT / top).rglob("__init__.py")
    }

    assert set(settings["packages"]) == found


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_whole(page: Path) -> None:
    text = page.read_text()
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    lines = dict(enumerate(text.splitlines()))
    tables = [range(*token.map) for token in tokens if token.type == "table_open" and token.map]
    elsewhere = {number for token in tokens if token.type in ("fence", "code_block") and token.map
                 for number in range(*token.map)}  # fmt: skip

    in_tables = {number for table in tables for number in table}
    rows = {number for number, line in lines.items() if line.startswith("|")} - elsewhere
    assert rows == in_tables, "a row that is in no table, or a line that follows a table without an empty one"
    cells = [[len(re.findall(r"(?<!\\)\|", lines[number])) for number in table] for table in tables]
    assert [counts for counts in cells if len(set(counts)) != 1] == []


def headings(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_sections_find_them(page: Path) -> None:
    links = re.findall(r"\]\(([\w./-]*\.md)?#([^)]+)\)", page.read_text())

    assert [link for link in links if link[1] not in headings(page.parent / link[0] if link[0] else page)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """To files: the site takes no directory."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).is_file()] == []

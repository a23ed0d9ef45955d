"""The documentation is true: its sessions are run, its tables are complete."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jidoteki.core.config import SECTIONS, defaults

ROOT = Path(__file__).parent.parent


@pytest.fixture
def session(tmp_path: Path) -> str:
    """The shell session of the README, on a directory and a port of this test's own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    text = "".join(blocks).replace("/tmp/appliance", str(tmp_path / "appliance")).replace("8443", port)
    text = text.replace("jidoteki serve", f"jidoteki serve --port {port}").replace("API=", "sleep 3; API=")
    return text.replace(". .venv/bin/activate", f"PATH={Path(sys.executable).parent}:$PATH")


def test_the_session_in_the_readme_works_when_pasted(session: str) -> None:
    process = subprocess.Popen(
        ["sh", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip

    output, errors = process.communicate(session + "\nkill $!\nwait\n", timeout=60)

    assert '{"Status":"200 OK"}' in output, errors
    assert output.count('{"version":"1.0.0"}') == 2
    assert '{"Status":"202 Accepted","Location":"/api/v1/admin/update"}' in output
    assert "Hello from the update" in output
    assert output.rstrip().endswith('{"version":"1.1.0"}')


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


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []

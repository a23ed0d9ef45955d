"""The tutorial does what it says: its files are those of the example, and its commands work when they are followed."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from test_examples import OFFLINE, ROOT, make_environment

TUTORIAL = ROOT / "docs/plugins.md"

pytestmark = pytest.mark.timeout(600)


def blocks() -> dict[str, str]:
    """The files in the tutorial, by the path that is written before them."""
    found = re.findall(r"`([\w./]+)`:\n\n```(?:python|toml)\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    return dict(found)


def test_the_files_in_the_tutorial_are_those_of_the_example() -> None:
    found = blocks()

    assert set(found) == {
        f"examples/probe/{name}" for name in ("pyproject.toml", "jidoteki_probe.py", "tests/test_probe.py")
    }
    assert found == {path: (ROOT / path).read_text() for path in found}
    assert TUTORIAL.read_text().count("```python") + TUTORIAL.read_text().count("```toml") == len(found)


def test_the_plugin_of_the_tutorial_has_40_lines_at_most() -> None:
    assert len((ROOT / "examples/probe/jidoteki_probe.py").read_text().splitlines()) <= 40


def unused_port() -> str:
    """Choose a port that no client is given meanwhile: one below those that the kernel hands out."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(1024, lowest)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return str(port)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the commands of the tutorial print when its files are there and its commands are run, one after another."""
    directory = tmp_path_factory.mktemp("tutorial")
    programs = make_environment(directory / "environment")
    (programs / "ping").write_text('#!/bin/sh\necho "$4 answers"\n')
    (programs / "ping").chmod(0o755)
    for path, content in blocks().items():
        file = directory / Path(path).relative_to("examples")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    session = "".join(re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(), re.DOTALL))
    session = session.replace("make setup\n. .venv/bin/activate\n", "").replace(
        "/tmp/appliance", str(directory / "appliance")
    )
    session = session.replace('"count": 2', f'"count": 2, "program": "{programs}/ping"')
    port = unused_port()
    session = session.replace("8443", port).replace("jidoteki serve", f"jidoteki serve --port {port}")
    answers = f"curl -sk --retry 60 --retry-delay 1 --retry-connrefused -o /dev/null https://127.0.0.1:{port}/"
    session = session.replace("API=", f"server=$!; {answers}; API=")
    session = "server=; trap '[ -z \"$server\" ] || kill $server' EXIT\n" + session
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e"], input=session, capture_output=True, text=True, cwd=directory, timeout=580,
        env=os.environ | OFFLINE | {"PATH": path, "MYPY_CACHE_DIR": str(directory / "types")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_of_the_tutorial_is_installed_and_passes_its_tests(followed: str) -> None:
    tests, _, rest = followed.partition("Made an appliance in")

    assert "3 passed" in tests
    assert re.search(r"probe +installed +1\.0\.0 +in service", rest)
    assert "    POST /probe\n    GET /probe\n" in rest


def test_the_plugin_of_the_tutorial_is_typed_as_it_is_installed(followed: str) -> None:
    assert "Success: no issues found in 2 source files" in followed


def test_the_plugin_of_the_tutorial_is_a_wheel(followed: str) -> None:
    assert "jidoteki_probe-1.0.0-py3-none-any.whl\n" in followed


def test_the_plugin_of_the_tutorial_serves_what_the_tutorial_says(followed: str) -> None:
    assert '{"Status":"202 Accepted","Location":"/api/v1/admin/probe"}' in followed
    assert '"status":"success"' in followed
    assert "localhost answers" in followed


def test_the_new_plugin_of_the_tutorial_is_installed_and_passes_its_tests(followed: str) -> None:
    _, made, tests = followed.partition("Made the plugin disk-report in jidoteki-disk-report")

    assert made
    assert "4 passed" in tests

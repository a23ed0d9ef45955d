"""The page of the Python client is true: its examples are run, and its exceptions are all there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from places import ROOT

import jidoteki.client
from jidoteki.client import Client
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.testing import Host, MakeHost

PAGE = (ROOT / "docs/client.md").read_text()
PROGRAMS = dict(re.findall(r"^### (.*?)\n.*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def run(name: str, host: Host, directory: Path) -> str:
    """What a program of the page prints."""
    source = PROGRAMS[name].replace("https://HOST:8443", host.url.removesuffix("/api/v1/admin"))
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=directory, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_programs_on_the_page_do_what_they_say(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host(token=None, enable=("backup", "events", "jobs", "uploads"), parameters=None)
    certificate = host.appliance.system_etc / "pki/tls/certs/enterprise.crt"
    (tmp_path / "enterprise.crt").write_bytes(certificate.read_bytes())
    (tmp_path / "settings.json").write_text('{"network":{"interface":"eth0","hostname":"new.host"}}')
    (tmp_path / "update").mkdir()
    (tmp_path / "update/update.sh").write_text("#!/bin/sh\necho from the update\n")
    vendor, package = host.appliance.root / "vendor", tmp_path / "software_package-1.1.0.enc"
    build_package(tmp_path / "update", "1.1.0", vendor / "updates.key", vendor / "private.pem", package)

    assert run("Set the first token", host, tmp_path) == ""
    assert run("Set the first token", host, tmp_path) == "403 Authentication error\n"
    assert run("Ask", host, tmp_path).startswith("1.0.0 {'endpoints': [")
    changed = run("Change something and wait", host, tmp_path)
    assert changed.startswith("it would be accepted: True\n") and "000001-settings success {'network'" in changed
    updated = run("Update", host, tmp_path)
    assert "bytes are sent\n202 000002-update /api/v1/admin/update\nsuccess " in updated
    assert "from the update" in updated
    assert run("Fetch a backup", host, tmp_path) == "the hash is right: True\n"
    assert (tmp_path / "backup.tar").is_file()
    followed = run("Follow what happens", host, tmp_path)
    assert followed.startswith("000004-backup running 0 percent\n") and followed.endswith(" success 100 percent\n")
    jobs = run("Look at jobs", host, tmp_path)
    assert "000002-update " in jobs and "from the update" in jobs
    (tmp_path / "update/filling").write_bytes(os.urandom(9 * 1024 * 1024))
    package = tmp_path / "software_package-1.2.0.enc"
    build_package(tmp_path / "update", "1.2.0", vendor / "updates.key", vendor / "private.pem", package)
    size = package.stat().st_size
    assert run("Send a big file", host, tmp_path) == f"{size} of {size} bytes are there\n"
    assert host.curl("GET", "/uploads", auth="none", query="token=yourtoken").json == {"uploads": []}
    assert run("Change something that may cut you off", host, tmp_path) == "success\n"
    assert len(PROGRAMS) == PAGE.count("```python") == 9


def test_a_refusal_and_a_failure_are_told_as_the_page_says(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host(token="yourtoken")
    (tmp_path / "enterprise.crt").write_bytes((host.appliance.system_etc / "pki/tls/certs/enterprise.crt").read_bytes())
    host.appliance.replace_file(host.appliance.bin / "network.sh", "#!/bin/sh\nexit 7\n", 0o755)

    (tmp_path / "settings.json").write_text('{"network":{"interface":"eth0"}}')
    refused = run("Change something and wait", host, tmp_path)
    (tmp_path / "settings.json").write_text('{"network":{"interface":"eth0","hostname":"new.host"}}')
    failed = run("Change something and wait", host, tmp_path)
    host.stop()
    nobody = run("Change something and wait", host, tmp_path)

    assert refused.startswith("refused: 400 None settings.network.hostname")
    assert "failed: E1000 network.sh failed with exit status 7" in failed
    assert nobody.startswith("no answer: ")


async def test_files_are_named_as_texts_or_as_paths(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host()
    document = tmp_path / "settings.json"
    document.write_text('{"app":{"name":"value"}}')

    async with Client(host.url, host.token, verify=False) as api:
        for file in (str(document), document):
            await api.post("/settings", files={"settings": file})
            assert (await api.wait("/settings", interval=0.05))["status"] == "success"
        for target in (str(tmp_path / "one"), tmp_path / "two"):
            assert await api.download("/logs", target) == Path(target)
        opened = api.open("POST", "/settings?dry-run=1", files={"settings": str(document)})
        async with opened as response:
            assert response.status == 202


def test_every_exception_is_on_the_page() -> None:
    problems = [name for name in jidoteki.client.__all__ if isinstance(getattr(jidoteki.client, name), type)]
    raised = [name for name in problems if issubclass(getattr(jidoteki.client, name), Exception)]

    assert len(raised) == 4 and [name for name in raised if f"| `{name}` |" not in PAGE] == []


def test_the_hash_of_the_page_is_the_one_of_the_contract() -> None:
    lines = re.findall(r"^    ((?:key|hash)=.*)$", PAGE, re.MULTILINE)

    done = subprocess.run(
        ["sh", "-e"], input="\n".join([*lines, 'printf %s "$hash"']), env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert done.stdout == "b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241"

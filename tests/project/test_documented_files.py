"""Every file that the service makes or reads beside others' is named in `docs/vendors.md`, and what that says is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from jidoteki.core.jobs.records import Records
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.testing import Host, MakeHost, wait_until

PAGE = (ROOT / "docs/vendors.md").read_text()
SETTINGS = {"network": {"interface": "eth0", "hostname": "test.example"}, "app": {"theme": ["dark"]}}


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    """A host after each kind of change."""
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})
    host.request("POST", "/settings", {"settings": json.dumps(SETTINGS).encode()})
    host.request("POST", "/storage", {"settings": b'{"storage":{"type":"local"}}'})
    host.request("POST", "/tokens", {"name": "monitor", "scopes": "read"})
    host.request("POST", "/backup", {"action": "START"})
    wait_until(lambda: all(record.ended for record in Records(host.appliance.jobs).all()))
    for path in ("/backup", "/settings", "/storage"):
        host.request("GET", path)
    return host


def is_named(path: Path, where: str) -> bool:
    """Whether a file is named, with its directory or behind another one."""
    return f"`{where}/{path.name}`" in PAGE or f"`{path.name}`" in PAGE


def files_of(directory: Path) -> list[Path]:
    """The files of a directory, but those that are just being written."""
    return [path for path in directory.iterdir() if not path.name.startswith(RESERVED) and path.is_file()]


def test_every_file_of_the_administration_tree_is_named(host: Host) -> None:
    made = files_of(host.appliance.etc)

    assert len(made) > 15
    assert [path.name for path in made if not is_named(path, "ADMIN/etc")] == []


def test_every_file_shared_with_the_appliance_is_named(host: Host) -> None:
    made = files_of(host.appliance.system_etc)

    assert len(made) > 5
    assert [path.name for path in made if not is_named(path, "/usr/local/etc")] == []


@pytest.mark.parametrize(
    "file",
    [
        "ADMIN/etc/network.json", "ADMIN/etc/app.json", "ADMIN/etc/license.key", "ADMIN/etc/license.pub",
        "/usr/local/etc/build.json", "/usr/local/etc/storage-options.json",
    ],
)  # fmt: skip
def test_a_file_of_the_vendor_has_a_row_of_its_own(file: str) -> None:
    assert re.search(rf"^\| (`[^|]*`, )?`{re.escape(file)}`(, `[^|]*`)? \|", PAGE, re.MULTILINE)


def test_settings_of_the_application_are_the_object_that_was_posted(host: Host) -> None:
    content = (host.appliance.etc / "app.json").read_text()

    assert content == '{"theme":["dark"]}\n'
    assert host.request("GET", "/settings").json["app"] == SETTINGS["app"]


@pytest.mark.parametrize("build", [{"builddate": "1432140922"}, ["any", 7, None]])
def test_build_information_is_shown_as_it_is(host: Host, build: object) -> None:
    host.appliance.replace_file(host.appliance.system_etc / "build.json", json.dumps(build, indent=3))

    assert host.request("GET", "/build").json == build


def test_build_information_that_is_no_json_is_not_there(host: Host) -> None:
    host.appliance.replace_file(host.appliance.system_etc / "build.json", "{")

    assert host.request("GET", "/build").status == 404


def test_the_keys_and_the_license_that_the_page_makes_work_together(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    section = PAGE.partition("\n## Licenses\n")[2].partition("\n## ")[0]
    commands = re.sub("^    ", "", "".join(re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)), flags=re.MULTILINE)
    assert "gpg --batch" in commands and "jidoteki license build" in commands
    programs = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "JIDOTEKI_ROOT": str(tmp_path)}

    script = f"set -e\ntrap 'gpgconf --kill all' EXIT\n{commands}"
    subprocess.run(["sh", "-c", script], cwd=tmp_path, env={**os.environ, **programs}, capture_output=True, check=True)

    host = jidoteki_host()
    for name in ("license.key", "license.pub"):
        host.appliance.replace_file(host.appliance.etc / name, (tmp_path / name).read_text(), 0o600)
    posted = host.request("POST", "/license", {"license": (tmp_path / "license.asc").read_bytes()})
    assert (posted.status, posted.json) == (200, {"app": "enterprise", "users": 20})

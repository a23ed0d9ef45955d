"""What `docs/vendors.md` says of the vendor's scripts, compared with what real scripts find."""

from __future__ import annotations

import getpass
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from jidoteki.testing import Host, MakeHost, wait_until

PAGE = (ROOT / "docs/vendors.md").read_text()
ROWS = [row.strip("| ").split(" | ") for row in re.findall(r"^\| `ADMIN/bin/\w+\.sh` \|.*", PAGE, re.MULTILINE)]
SCRIPTS = {Path(row[0].strip("`")).name: [cell.strip("`") for cell in row[2:]] for row in ROWS}
CHANGES = {"network.sh": "settings", "storage.sh": "storage", "certs.sh": "certs"}
LOGS = {name: f"update_{kind}.log" for name, kind in CHANGES.items()}
DOCUMENTS = {
    "network.sh": {"network": {"interface": "eth0", "hostname": "test.example"}},
    "storage.sh": {"storage": {"type": "local"}},
}
REPORTING = """\
{
    echo "arguments $# $*"
    echo "directory $(pwd)"
    echo "umask $(umask)"
    echo "user $(id -un)"
    echo "niceness $(nice)"
    echo "input $(wc -c)"
    tr '\\0' '\\n' < /proc/$$/environ | sed 's/^/environment /'
} > REPORT
echo '{}'
"""


def write(host: Host, name: str, text: str) -> Path:
    """Write a script, and return the path of its report."""
    report = host.appliance.root / f"{name}.report"
    host.appliance.replace_file(host.appliance.bin / name, text.replace("REPORT", str(report)), 0o755)
    return report


def form(host: Host, name: str) -> dict[str, Any]:
    """A change after which a script is called."""
    if name != "certs.sh":
        return {"settings": json.dumps(DOCUMENTS[name]).encode()}
    tls = host.appliance.system_etc / "pki/tls"
    paths = {"public": tls / "certs/enterprise.crt", "private": tls / "private/enterprise.key"}
    return {parameter: path.read_bytes() for parameter, path in paths.items()}


def change(host: Host, name: str) -> dict[str, Any]:
    """Have a script called, and return the job's record once it has ended."""
    answer = host.request("POST", f"/{CHANGES[name]}", form(host, name))
    assert answer.status == 202, answer.body

    def ended() -> dict[str, Any] | None:
        record: dict[str, Any] = host.request("GET", f"/jobs/{answer.headers['Job-Id']}").json
        return record if record["status"] != "running" else None

    result: dict[str, Any] = wait_until(ended)
    return result


def call(host: Host, name: str) -> None:
    """Have a script called, with success."""
    if name == "license.sh":
        assert host.request("GET", "/license").json == {}
    else:
        record = change(host, name)
        assert record["status"] == "success", record


def found(report: Path) -> dict[str, list[str]]:
    """What a script reported, by the first word of its lines."""
    told: dict[str, list[str]] = {}
    for line in report.read_text().splitlines():
        word, _, rest = line.partition(" ")
        told.setdefault(word, []).append(rest.strip())
    return told


def environment(host: Host) -> list[str]:
    """The variables that the page names."""
    block = re.search(r"^    PATH=.*\n(?:    \w+=.*\n)+", PAGE, re.MULTILINE)
    assert block
    text = block[0].replace("=ADMIN", f"={host.appliance.admin}").replace("=ROOT", f"={host.appliance.root}")
    return sorted(line.strip() for line in text.splitlines())


def test_every_script_that_the_service_calls_has_its_row() -> None:
    assert set(SCRIPTS) == {*CHANGES, "license.sh"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gets_what_the_page_says(jidoteki_host: MakeHost, name: str) -> None:
    arguments, directory, umask, starter = SCRIPTS[name]
    host = jidoteki_host()
    report = write(host, name, REPORTING)

    call(host, name)

    told = found(report)
    assert starter == ("the service" if name == "license.sh" else "root")
    assert told["arguments"] == ["0" if arguments == "none" else "1 dhcp"]
    assert told["directory"] == [directory.replace("ADMIN", str(host.appliance.admin))]
    assert told["umask"] == [umask]
    assert told["user"] == [getpass.getuser()]
    assert told["niceness"] == [str(os.nice(0))]
    assert told["input"] == ["0"]
    assert sorted(told["environment"]) == environment(host)


def test_a_static_network_is_the_argument_too(jidoteki_host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host = jidoteki_host()
    report = write(host, "network.sh", REPORTING)
    static = {"ip_address": "192.0.2.7", "netmask": "24", "gateway": "192.0.2.1"}
    monkeypatch.setitem(DOCUMENTS, "network.sh", {"network": {**DOCUMENTS["network.sh"]["network"], **static}})

    call(host, "network.sh")

    assert found(report)["arguments"] == ["1 static"]


def test_a_license_is_read_the_same_way_while_it_is_posted(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    report = write(host, "license.sh", REPORTING)
    shown = (host.request("GET", "/license"), found(report))

    posted = host.request("POST", "/license", {"license": b"anything"})

    assert (shown[0].json, posted.json) == ({}, {})
    report_of_job = found(report)
    report_of_job.pop("niceness"), shown[1].pop("niceness")
    assert report_of_job == shown[1]


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_script_prints_is_in_the_log_and_its_failure_in_the_record(jidoteki_host: MakeHost, name: str) -> None:
    host = jidoteki_host()
    write(host, name, "echo first; echo second >&2; exit 3")

    record = change(host, name)

    assert (record["status"], record["error-message"]) == ("failed", f"{name} failed with exit status 3: second")
    lines = (host.appliance.log / LOGS[name]).read_text().splitlines()
    assert lines.index("first") < lines.index("second")
    assert f"`{LOGS[name]}`" in PAGE and "`network.sh failed with exit status 3`" in PAGE


SOURCING = {
    "network.sh": ('. "$JIDO_ETC/network.conf"; echo "$hostname" > REPORT', "test.example"),
    "storage.sh": ('. "$JIDO_ETC/storage.conf"; echo "$type" > REPORT', "local"),
    "certs.sh": ('head -n 1 "$JIDO_ETC/pki/tls/certs/enterprise.crt" > REPORT', "-----BEGIN CERTIFICATE-----"),
    "license.sh": ('ls "$JIDO_ROOT" > /dev/null && basename "$JIDO_ADMIN_PATH" > REPORT; echo "{}"', "tinyadmin"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_finds_the_files_of_the_root_that_it_works_on(jidoteki_host: MakeHost, name: str) -> None:
    script, expected = SOURCING[name]
    host = jidoteki_host()
    report = write(host, name, script)

    call(host, name)

    assert report.read_text() == f"{expected}\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_takes_too_long_is_killed_with_what_it_started(jidoteki_host: MakeHost, name: str) -> None:
    host = jidoteki_host(limits={"command": 1})
    report = write(host, name, "sleep 600 & echo $! > REPORT; wait")

    told = host.request("GET", "/license").json if name == "license.sh" else change(host, name)

    assert f"{name} did not end within 1 seconds" in (told.get("error-message") or told["Error-Message"])
    wait_until(lambda: not alive(int(report.read_text())))


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_leaves_in_the_background_goes_on(jidoteki_host: MakeHost, name: str) -> None:
    host = jidoteki_host()
    report = write(host, name, "(sleep 2; echo done > REPORT) & echo '{}'")

    call(host, name)

    assert not report.exists()
    wait_until(report.exists)


@pytest.mark.parametrize("name", CHANGES)
def test_a_dry_run_calls_no_script(jidoteki_host: MakeHost, name: str) -> None:
    host = jidoteki_host()
    report = write(host, name, REPORTING)

    answer = host.request("POST", f"/{CHANGES[name]}", form(host, name), query="dry-run=1")

    assert (answer.status, answer.json["dry-run"]) == (202, True)
    assert not report.exists()

"""The plugin on a host of its own, whose `firewall.sh` writes what is in force to a file."""

import os
import signal
from pathlib import Path

import pytest

from jidoteki.testing import Host, MakeHost, wait_until

SCRIPT = """
if [ -e {conf} ]; then . {conf}; fi
echo "${{allow:-all}}" >> {applied}
test "$allow" != 203.0.113.0/24
"""


@pytest.fixture
def applied(tmp_path: Path) -> Path:
    """What the script put into force, one after another."""
    return tmp_path / "applied"


@pytest.fixture
def host(jidoteki_host: MakeHost, applied: Path) -> Host:
    host = jidoteki_host(enable=("firewall",))
    script = host.appliance.admin / "bin/firewall.sh"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT.format(conf=host.appliance.etc / "firewall.conf", applied=applied))
    return host


def is_waiting(host: Host) -> bool:
    return "pending" in host.get("/firewall").json


def test_a_confirmed_change_stays(host: Host, applied: Path) -> None:
    assert host.request("POST", "/firewall", {"allow": "192.0.2.0/24"}).status == 202
    wait_until(lambda: is_waiting(host))
    pending = host.get("/firewall").json["pending"]
    assert pending["allow"] == "192.0.2.0/24"
    assert 0 < pending["seconds-left"] <= 60

    assert host.request("POST", "/firewall/confirm").status == 200

    assert host.wait_for_job("/firewall")["status"] == "success"
    assert applied.read_text().split() == ["192.0.2.0/24"]


def test_a_change_that_nobody_confirms_is_put_back_and_told(host: Host, applied: Path) -> None:
    assert host.request("POST", "/firewall", {"allow": "192.0.2.0/24"}, query="confirm=10").status == 202

    status = host.wait_for_job("/firewall")
    assert (status["status"], status["error-code"]) == ("failed", "E2001")
    assert applied.read_text().split() == ["192.0.2.0/24", "all"]
    assert not (host.appliance.etc / "firewall.conf").exists()


def test_a_change_whose_script_fails_is_put_back(host: Host, applied: Path) -> None:
    assert host.request("POST", "/firewall", {"allow": "203.0.113.0/24"}).status == 202

    assert host.wait_for_job("/firewall")["status"] == "failed"
    assert applied.read_text().split() == ["203.0.113.0/24", "all"]


def test_a_change_whose_process_is_killed_is_put_back(host: Host, applied: Path) -> None:
    assert host.request("POST", "/firewall", {"allow": "192.0.2.0/24"}).status == 202
    wait_until(lambda: is_waiting(host))
    [pid] = [
        int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"firewall" in path.read_bytes() and str(host.appliance.root).encode() in path.read_bytes()
    ]  # fmt: skip
    os.kill(pid, signal.SIGKILL)

    assert host.wait_for_job("/firewall")["status"] == "failed"
    assert applied.read_text().split() == ["192.0.2.0/24", "all"]


def test_what_is_no_network_is_refused(host: Host) -> None:
    answer = host.request("POST", "/firewall", {"allow": "192.0.2.1/24"})

    assert answer.status == 400
    assert answer.json["error-field"] == "/allow"

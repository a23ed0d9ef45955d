"""A reboot waits for accepted changes, says so, and gives up after a timeout."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core.jobs import changes
from jidoteki.testing import Host, MakeHost, wait_until
from jidoteki.testing.fixtures import MakeClient

NBD = {"storage": {"type": "nbd", "export_name": "abc", "ip": "192.168.1.9", "port": "1043"}}
DHCP = {"network": {"interface": "eth0", "hostname": "new.host"}}

PLUGIN = """
import time
from jidoteki.hookspecs import Endpoint, JobType, hookimpl

async def keep(request):
    return await request.start_job("keep")

async def exclude(request):
    return await request.start_job("exclude")

async def passing(request):
    return await request.start_job("passing")

async def cancel(request):
    return {"cancelled": await request.cancel_job("reboot")}

def work(job):
    time.sleep(3)
    job.log("worked")

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("keep", work, persist=True), JobType("exclude", work, exclusive_with=("reboot",)),
            JobType("passing", work)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/probe/keep", keep), Endpoint("POST", "/probe/exclude", exclude),
            Endpoint("POST", "/probe/passing", passing), Endpoint("DELETE", "/probe/reboot", cancel)]
"""


def sent(document: dict[str, Any]) -> tuple[str, str]:
    return "-F", f"settings={json.dumps(document)};type=application/json"


def rebooting(make: MakeHost, tmp_path: Path, script: str = "", **options: Any) -> tuple[Host, Path]:
    """Return a host whose persist and reboot commands log the data that are to be kept; and that log."""
    note = tmp_path / "note"
    host = make(start=False, **options)
    kept = host.appliance.etc / "storage.json"
    note_it = f"{{ echo $0; cat {kept} 2>/dev/null || echo nothing; }} >> {note}; {script}"
    host.configure(commands={name: ["/bin/sh", "-c", note_it, name] for name in ("persist", "reboot")})
    host.start()
    return host, note


def script(host: Host, name: str, content: str) -> None:
    host.appliance.replace_file(host.appliance.bin / name, f"#!/bin/sh\n{content}\n", 0o755)


def network_script(host: Host, content: str) -> None:
    script(host, "network.sh", content)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_answered_before_a_reboot_is_kept_by_it(jidoteki_host: MakeHost, tmp_path: Path, method: str) -> None:
    host, note = rebooting(jidoteki_host, tmp_path)
    script(host, "storage.sh", "sleep 2")

    stored = host.post("/storage", *sent(NBD)).headers["Job-Id"]
    id = host.curl(method, "/reboot").headers["Job-Id"]

    done = host.wait_for_job(f"/jobs/{id}")
    kept = json.dumps(NBD, separators=(",", ":"))
    # The first one is that of the change itself.
    assert note.read_text() == f"persist\n{kept}\npersist\n{kept}\nreboot\n{kept}\n"
    assert f"Waiting for the end of {stored}" in done["log"] and f"{stored} has ended: success" in done["log"]


def test_what_begins_while_a_reboot_waits_is_kept_too(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host, note = rebooting(jidoteki_host, tmp_path)
    network_script(host, f"sleep 2; echo network.sh >> {note}")

    settings = host.post("/settings", *sent(DHCP)).headers["Job-Id"]
    id = host.get("/reboot").headers["Job-Id"]
    wait_until(lambda: host.get(f"/jobs/{id}").json["log"])
    waiting = host.get(f"/jobs/{id}").json
    storage = host.post("/storage", *sent(NBD)).headers["Job-Id"]

    done = host.wait_for_job(f"/jobs/{id}")
    assert waiting["status"] == "running" and waiting["log"].endswith(f"{settings}, which changes what is to be kept")
    before, _, at_reboot = note.read_text().partition("reboot\n")
    assert done["status"] == "success" and "network.sh" in before
    assert json.loads(at_reboot) == NBD and host.get(f"/jobs/{storage}").json["status"] == "success"


def test_a_change_that_fails_keeps_nobody_from_rebooting(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host, note = rebooting(jidoteki_host, tmp_path)
    network_script(host, "sleep 1; exit 1")

    settings = host.post("/settings", *sent(DHCP)).headers["Job-Id"]
    done = host.wait_for_job(f"/jobs/{host.get('/reboot').headers['Job-Id']}")

    assert done["status"] == "success" and f"{settings} has ended: failed" in done["log"]
    assert "reboot\n" in note.read_text()


def test_a_reboot_goes_on_once_a_change_that_was_killed_is_put_right(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host, note = rebooting(jidoteki_host, tmp_path)
    network_script(host, "sleep 60")
    settings = host.post("/settings", *sent(DHCP)).headers["Job-Id"]
    id = host.get("/reboot").headers["Job-Id"]
    wait_until(lambda: host.get(f"/jobs/{id}").json["log"])

    record = host.appliance.jobs / f"{settings}.json"
    # Until its process has begun there is none: 0, which would mean those of the tests.
    os.kill(wait_until(lambda: json.loads(record.read_text())["pid"]), signal.SIGKILL)

    done = host.wait_for_job(f"/jobs/{id}", 30)
    assert done["status"] == "success" and f"{settings} has ended: failed" in done["log"]
    assert "reboot\n" in note.read_text()


def test_jobs_of_plugins_are_waited_for_or_refuse_it_as_they_say(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host, _ = rebooting(jidoteki_host, tmp_path, load=(plugin,), enable=("probe",))

    passing = host.post("/probe/passing").headers["Job-Id"]
    unheeded = host.wait_for_job(f"/jobs/{host.get('/reboot').headers['Job-Id']}")
    still = host.get(f"/jobs/{passing}").json
    keep = host.post("/probe/keep").headers["Job-Id"]
    waited = host.wait_for_job(f"/jobs/{host.get('/reboot').headers['Job-Id']}")
    exclude = host.post("/probe/exclude")
    refused = host.get("/reboot")

    assert still["status"] == "running" and passing not in unheeded["log"]
    assert f"{keep} has ended: success" in waited["log"]
    assert (exclude.status, refused.status, refused.json["error-code"]) == (202, 400, "E1004")


def test_a_reboot_that_is_ended_while_it_waits_reboots_nothing(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host, note = rebooting(jidoteki_host, tmp_path, load=(plugin,), enable=("probe",))
    network_script(host, "sleep 4")
    host.post("/settings", *sent(DHCP))
    cancelled = host.get("/reboot").headers["Job-Id"]
    wait_until(lambda: host.get(f"/jobs/{cancelled}").json["log"])

    host.curl("DELETE", "/probe/reboot")
    killed = host.get("/reboot").headers["Job-Id"]
    wait_until(lambda: host.get(f"/jobs/{killed}").json["log"])
    record = host.appliance.jobs / f"{killed}.json"
    os.kill(wait_until(lambda: json.loads(record.read_text())["pid"]), signal.SIGKILL)

    assert host.get(f"/jobs/{cancelled}").json["status"] == "cancelled"
    assert host.wait_for_job(f"/jobs/{killed}")["status"] == "failed"
    assert not note.exists() or "reboot" not in note.read_text()


def test_once_the_system_goes_down_no_change_begins(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host, note = rebooting(jidoteki_host, tmp_path, '[ "$0" = persist ] || sleep 3')
    id = host.get("/reboot").headers["Job-Id"]
    wait_until(lambda: note.exists() and "reboot" in note.read_text())

    refused = [host.post("/settings", *sent(DHCP)), host.post("/storage", *sent(NBD))]
    token = host.post("/setup", "-F", "newtoken=another")
    dry = host.curl("POST", "/settings", *sent(DHCP), query="dry-run=1")
    host.wait_for_job(f"/jobs/{id}")

    told = [(each.status, each.json["error-code"], each.json["Error-Message"]) for each in (*refused, dry)]
    assert told == [
        (400, "E1004", "Settings cannot start while reboot is running"),
        (400, "E1004", "Storage cannot start while reboot is running"),
        (400, "E1004", "Settings cannot start while reboot is running"),
    ]
    assert (token.status, token.json["error-code"]) == (400, "E1004")
    assert token.json["Error-Message"] == "This cannot be done while reboot is running"
    assert host.post("/settings", *sent(DHCP)).status == 202


def test_a_dry_run_of_a_reboot_waits_for_nothing(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host, note = rebooting(jidoteki_host, tmp_path)
    network_script(host, "sleep 3")
    settings = host.post("/settings", *sent(DHCP)).headers["Job-Id"]

    began = time.monotonic()
    answer = host.curl("POST", "/reboot", query="dry-run=1")
    running = host.get(f"/jobs/{settings}").json["status"]

    assert (answer.status, answer.json["dry-run"], running) == (202, True, "running"), time.monotonic() - began
    assert not list(host.appliance.jobs.glob("*-reboot.json")) and not note.exists()


async def test_a_change_that_does_not_end_is_named_and_nothing_reboots(
    jidoteki_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "WAIT_TIMEOUT", 0.5)
    note = tmp_path / "note"
    client = await jidoteki_client(commands={"reboot": ["/bin/touch", str(note)]})
    client.appliance.replace_file(client.appliance.bin / "network.sh", "#!/bin/sh\nsleep 3\n", 0o755)
    settings = (await client.post("/settings", {"settings": json.dumps(DHCP).encode()})).headers["Job-Id"]

    id = (await client.post("/reboot")).headers["Job-Id"]
    done = await client.wait_for_job(f"/jobs/{id}")

    assert (done["status"], done["error-code"]) == ("failed", "E1004")
    assert done["error-message"] == f"{settings} has not ended within 0.5 seconds; the system does not reboot"
    assert not note.exists()

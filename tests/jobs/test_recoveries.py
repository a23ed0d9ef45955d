"""What is shown of a killed job until its recovery has ended, and recoveries that fail at first."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

PLUGIN = """
import time
from pathlib import Path
from jidoteki.hookspecs import Endpoint, JobType, hookimpl

def run(job):
    time.sleep(60)

def recover(appliance):
    told = appliance.etc / "recover"
    with (appliance.etc / "recoveries").open("a") as file:
        file.write("x")
    if told.exists() and told.read_text() == "raise":
        raise OSError(28, "No space left on device")
    while told.exists() and told.read_text() == "wait":
        time.sleep(0.01)
    return "All is as it was"

async def start(request):
    return await request.start_job("worker")

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("worker", run, recover=recover)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/worker", start)]
"""
DIED = "The job ended unexpectedly: it was killed, or the power failed"


@pytest.fixture
def host(jidoteki_host: MakeHost, tmp_path: Path) -> Host:
    plugin = tmp_path / "worker.py"
    plugin.write_text(PLUGIN)
    return jidoteki_host([plugin], enable=["worker"])


def killed(host: Host) -> str:
    answer = host.post("/worker")
    assert answer.status == 202, answer.text
    id = answer.headers["Job-Id"]
    pid = wait_until(lambda: json.loads((host.appliance.jobs / f"{id}.json").read_text())["pid"])
    os.kill(pid, signal.SIGKILL)
    return id


def ended(host: Host, id: str) -> Any:
    return wait_until(lambda: (job := host.get(f"/jobs/{id}").json)["status"] != "running" and job)


def recoveries(appliance: Any) -> int:
    path: Path = appliance.etc / "recoveries"
    return len(path.read_text()) if path.exists() else 0


def test_a_killed_job_is_running_until_its_recovery_has_ended(host: Host) -> None:
    (host.appliance.etc / "recover").write_text("wait")
    id = killed(host)
    wait_until(lambda: recoveries(host.appliance))

    job = host.get(f"/jobs/{id}").json
    (host.appliance.etc / "recover").unlink()

    assert (job["status"], job["finished"]) == ("running", None)
    assert [each["status"] for each in host.get("/jobs").json["jobs"]][0] in ("running", "failed")
    last = ended(host, id)
    assert (last["status"], last["error-message"]) == ("failed", f"{DIED}. All is as it was")
    assert last["finished"] is not None


def test_a_recovery_that_failed_is_told_and_tried_again_when_the_service_starts(host: Host) -> None:
    (host.appliance.etc / "recover").write_text("raise")
    id = killed(host)
    first = ended(host, id)
    host.stop()
    host.start()
    second = host.get(f"/jobs/{id}").json
    (host.appliance.etc / "recover").unlink()
    host.stop()
    host.start()
    third = host.get(f"/jobs/{id}").json
    host.stop()
    host.start()

    assert first["error-message"].startswith(f"{DIED}. What it left half done could not be put right")
    assert second == first
    assert third["error-message"] == f"{first['error-message']}. All is as it was"
    assert "All is as it was" in third["log"]
    assert host.get(f"/jobs/{id}").json == third
    assert recoveries(host.appliance) == 3, "and not again once it has ended"


def test_a_recovery_that_failed_is_tried_again_before_the_next_job_of_its_type(host: Host) -> None:
    (host.appliance.etc / "recover").write_text("raise")
    id = killed(host)
    ended(host, id)
    (host.appliance.etc / "recover").unlink()

    assert host.post("/worker").status == 202

    assert host.get(f"/jobs/{id}").json["error-message"].endswith(". All is as it was")


def test_no_job_of_the_type_begins_before_the_recovery_has_ended(host: Host) -> None:
    (host.appliance.etc / "recover").write_text("wait")
    id = killed(host)
    wait_until(lambda: recoveries(host.appliance))

    refused = host.post("/worker")
    (host.appliance.etc / "recover").unlink()
    ended(host, id)

    assert (refused.status, refused.json["error-code"]) == (400, "E1004"), refused.text
    assert host.post("/worker").status == 202

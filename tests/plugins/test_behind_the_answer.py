"""Requests right after a 202, or right after the end of a job, agree with the job's record."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path

import pytest

from jidoteki.plugins.backup import stored_backup
from jidoteki.testing import Host, MakeHost

SETTINGS = 'settings={"network":{"interface":"eth0","hostname":"new.host"}}'

PLUGIN = """
import time
from jidoteki.hookspecs import Endpoint, JobType, StatusFiles, hookimpl

async def start(request):
    return await request.start_job("probe")

async def running(request):
    status = await request.job_status("probe")
    return {"running": await request.job_running("probe"), "status": status["status"]}

def work(job):
    time.sleep(1)

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("probe", work, status_files=StatusFiles("probe.json", "probe.txt"))]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/probe", start), Endpoint("GET", "/probe", running)]
"""


def back_up(host: Host) -> str:
    """Make a backup, and return the id of its job."""
    id = host.post("/backup", "-F", "action=START").headers["Job-Id"]
    host.wait_for_job(f"/jobs/{id}")
    return id


def test_right_behind_the_answer_to_start_nobody_is_sent_the_backup_of_before(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    back_up(host)
    old = host.get("/backup/download").body
    (host.appliance.data / "app/large").write_bytes(bytes(64 * 1024 * 1024))

    assert host.post("/backup", "-F", "action=START").status == 202
    answers = [host.get("/backup/download") for _ in range(4)]

    assert old not in [each.body for each in answers]
    assert (answers[0].status, answers[0].json["Error-Message"]) == (404, "The backup is being made")


@pytest.mark.parametrize("job_type", ["certs", "update", "backup", "probe"])
def test_a_job_runs_from_its_202_on(jidoteki_host: MakeHost, tmp_path: Path, job_type: str) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host = jidoteki_host(load=(plugin,), enable=("probe",))
    pki = host.appliance.system_etc / "pki/tls"
    (host.appliance.data / "app/large").write_bytes(bytes(64 * 1024 * 1024))
    sent = {
        "certs": ("-F", f"public=@{pki}/certs/enterprise.crt", "-F", f"private=@{pki}/private/enterprise.key"),
        "update": ("-F", f"update=@{plugin}"),
        "backup": ("-F", "action=START"),
        "probe": (),
    }

    answer = host.post(f"/{job_type}", *sent[job_type])
    shown = host.get(f"/{job_type}").json
    later = host.get(f"/jobs/{answer.headers['Job-Id']}").json

    assert shown["status"] in ("running", later["status"])


@pytest.mark.parametrize("job_type", ["backup", "probe"])
def test_a_job_whose_record_says_that_it_ended_runs_nowhere(
    jidoteki_host: MakeHost, tmp_path: Path, job_type: str
) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host = jidoteki_host(load=(plugin,), enable=("probe",))
    id = host.post(f"/{job_type}", *(("-F", "action=START") if job_type == "backup" else ())).headers["Job-Id"]
    host.wait_for_job(f"/jobs/{id}")

    # Its process releases the lock a moment after it recorded the outcome.
    with (host.appliance.jobs / f"{job_type}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record, shown = host.get(f"/jobs/{id}").json, host.get(f"/{job_type}").json
        download = host.get("/backup/download").status

    assert (record["status"], shown["status"]) == ("success", "success")
    assert shown.get("running") in (None, False)
    assert download == (200 if job_type == "backup" else 404)


def test_a_backup_that_never_ended_does_not_run_for_ever(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    stored_backup.record_running(host.appliance)
    host.start()

    shown, download = host.get("/backup").json, host.get("/backup/download")

    assert (shown["status"], download.status) == ("failed", 404)
    assert "killed" in shown["error-message"] and "killed" in download.json["Error-Message"]


@pytest.mark.parametrize("hangs", [False, True])
def test_a_backup_that_was_stopped_and_is_not_deleted_yet_does_not_run(jidoteki_host: MakeHost, hangs: bool) -> None:
    host = jidoteki_host()
    (host.appliance.data / "app/large").write_bytes(bytes(256 * 1024 * 1024))
    id = host.post("/backup", "-F", "action=START").headers["Job-Id"]
    while host.get(f"/jobs/{id}").json["percentage"] < 1:
        time.sleep(0.05)
    if hangs:  # so that it has to be killed
        os.kill(json.loads((host.appliance.jobs / f"{id}.json").read_text())["pid"], signal.SIGSTOP)

    with (host.appliance.jobs / "backup-delete.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # prevents the job that deletes the rest
        host.post("/backup", "-F", "action=STOP")
        record, shown = host.get(f"/jobs/{id}").json, host.get("/backup").json

    assert record["status"] == "cancelled"
    assert shown == {"status": "failed", "error-message": "The backup was stopped"}

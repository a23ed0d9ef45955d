"""Records of jobs are validated: a damaged one is ignored, and no other process is taken for a job."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from places import SAMPLES

from jidoteki.core.appliance import Appliance
from jidoteki.core.config import loading
from jidoteki.core.jobs import exit_reasons, listing
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.service.generation import assemble
from jidoteki.testing import MakeAppliance, MakeClient, MakeHost

WORKER = SAMPLES / "worker.py"

GOOD: dict[str, Any] = {
    "id": "000001-worker", "kind": "worker", "status": "success", "percentage": 100, "started": 1.0, "ended": 2.0,
    "client": "", "user": "", "pid": 0, "boot": "", "error_message": None, "error_code": None,
}  # fmt: skip


@pytest.fixture
def appliance(jidoteki_appliance: MakeAppliance) -> Appliance:
    return jidoteki_appliance()


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "x"}, {"pid": -1}, {"pid": 1 << 70}, {"pid": True}, {"kind": 5}, {"kind": "update"}, {"kind": "../x"},
        {"status": []}, {"status": "odd"}, {"status": None}, {"percentage": 10**40}, {"percentage": "7"},
        {"percentage": 1e999}, {"started": "now"}, {"started": float("nan")}, {"started": float("inf")},
        {"ended": {}}, {"id": "../../etc"}, {"id": "000002-worker"}, {"client": 7}, {"boot": None},
        {"error_message": 7}, {"error_message": "x" * 1_000_000}, {"error_code": []},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
async def test_a_damaged_record_is_none_and_in_nobodys_way(
    appliance: Appliance, jidoteki_client: MakeClient, change: dict[str, Any]
) -> None:
    (appliance.jobs / "000001-worker.json").write_text(json.dumps({**GOOD, **change}))

    client = await jidoteki_client(load=[WORKER], enable=["worker"], appliance=appliance)

    assert (await client.get("/worker")).json["status"] is None
    started = await client.post("/worker", {"do": "nothing"})
    assert (started.status, started.headers["Job-Id"]) == (202, "000002-worker")
    await client.wait_for_job("/worker")


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"7", b"[" * 100_000, b"\xff\xfe", b"{}" * 1_000_000])
async def test_a_record_that_is_no_record_is_in_nobodys_way(
    appliance: Appliance, jidoteki_client: MakeClient, content: bytes
) -> None:
    (appliance.jobs / "000001-worker.json").write_bytes(content)

    client = await jidoteki_client(load=[WORKER], enable=["worker"], appliance=appliance)

    assert (await client.get("/worker")).json["status"] is None
    assert (await client.post("/worker", {"do": "nothing"})).status == 202


async def test_a_record_may_have_more_or_less_than_this_version_writes(
    appliance: Appliance, jidoteki_client: MakeClient
) -> None:
    record = {name: GOOD[name] for name in ("id", "kind", "status")} | {"of-a-later-version": [1]}
    (appliance.jobs / "000001-worker.json").write_text(json.dumps(record))

    client = await jidoteki_client(load=[WORKER], enable=["worker"], appliance=appliance)

    assert (await client.get("/worker")).json["status"] == "success"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make things that belong to others")
async def test_a_record_of_somebody_else_means_nothing(appliance: Appliance, jidoteki_client: MakeClient) -> None:
    path = appliance.jobs / "000001-worker.json"
    path.write_text(json.dumps(GOOD))
    os.chown(path, 65534, 65534)

    client = await jidoteki_client(load=[WORKER], enable=["worker"], appliance=appliance)

    assert (await client.get("/worker")).json["status"] is None


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_process_that_is_not_the_job_of_a_record_is_not_killed(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(load=(WORKER,), enable=("worker",), start=False)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as victim:
        record = {**GOOD, "status": "running", "pid": victim.pid, "boot": boot(), "ended": None}
        (host.appliance.jobs / "000001-worker.json").write_text(json.dumps(record))
        with (host.appliance.jobs / "worker.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            host.start()
            host.curl("DELETE", "/worker")
            assert host.post("/worker", "-F", "do=nothing").status == 400
        assert host.post("/worker", "-F", "do=nothing").status == 202
        host.wait_for_job("/worker")
        assert victim.poll() is None
        victim.kill()


def test_what_lives_in_a_session_whose_number_a_dead_job_had_is_not_killed(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(load=(WORKER,), enable=("worker",), start=False)
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!"], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert leader.stdout
    daemon = int(leader.stdout.readline())
    leader.wait()
    record = {**GOOD, "status": "running", "pid": leader.pid, "boot": boot(), "ended": None}
    (host.appliance.jobs / "000001-worker.json").write_text(json.dumps(record))

    host.start()

    assert host.get("/worker").json["status"] == "failed"
    os.kill(daemon, signal.SIGKILL)  # fails if it was killed


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ("exit 3", "its process ended with exit status 3"),
        ("kill -TERM $$", "its process was ended by SIGTERM"),
        ("kill -KILL $$", "it was killed, or the power failed"),
    ],
)
def test_a_crash_is_told_before_it_is_recorded_too(appliance: Appliance, script: str, ended: str) -> None:
    launcher = assemble(appliance, loading.load(appliance.configuration)).launcher
    records = launcher.records
    record = records.new("worker", "127.0.0.1", "admin")
    with open(os.devnull, "r+b") as null:
        process = JobProcess.start(["sh", "-c", script], {}, null.fileno(), null.fileno(), null.fileno())
    exit_reasons.remember(records.path(record.id), process)

    shown = listing.current(launcher, record.id)

    assert shown and (shown.status, shown.error_message) == ("failed", f"The job ended unexpectedly: {ended}")

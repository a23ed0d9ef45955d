"""Trials of changes: who ends one, by which clock, and for plugins of anybody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.jobs import exit_reasons, reverting
from jidoteki.core.jobs.records import Record, Records
from jidoteki.hookspecs import trials
from jidoteki.testing import MakeClient, MakeHost

ID = "000007-worker"
YEAR = 365 * 24 * 3600.0
PLUGIN = """
from jidoteki.hookspecs import Endpoint, JobType, hookimpl

def run(job):
    job.appliance.replace_file(job.appliance.etc / "worker", "new")
    job.await_confirmation({"worker": "new"})

def revert(job):
    job.appliance.replace_file(job.appliance.etc / "worker", "old")

async def start(request):
    return await request.start_job("worker")

async def show(request):
    trial = await request.trial("worker")
    return {} if trial is None else {"left": trial.seconds_left, "pending": trial.pending}

async def confirm(request):
    await request.confirm_job("worker")
    return {"Status": "200 OK"}

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("worker", run, revert=revert)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [
        Endpoint("POST", "/worker", start, starts="worker", confirm=0),
        Endpoint("GET", "/worker", show),
        Endpoint("POST", "/worker/confirm", confirm),
    ]
"""


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    appliance = Appliance(tmp_path)
    appliance.prepare()
    return appliance


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "worker.py"
    path.write_text(PLUGIN)
    return path


def test_exactly_one_of_two_ends_a_trial(appliance: Appliance) -> None:
    trials.begin(appliance, ID)

    assert trials.decide(appliance.jobs, ID, "confirmed")
    assert not trials.decide(appliance.jobs, ID, "reverting")
    assert trials.decide(appliance.jobs, ID, "confirmed")
    assert trials.state(appliance.jobs, ID) == "confirmed"
    assert trials.find(appliance.jobs, "worker") is None


def test_a_run_on_no_trial_cannot_be_confirmed(appliance: Appliance) -> None:
    assert not trials.decide(appliance.jobs, ID, "confirmed")
    assert trials.state(appliance.jobs, ID) is None


def test_a_trial_of_another_type_whose_name_ends_alike_is_another_one(appliance: Appliance) -> None:
    trials.begin(appliance, "000008-hard-worker")

    assert trials.find(appliance.jobs, "worker") is None
    assert trials.unended(appliance.jobs, "worker") == []


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"deadline": "soon", "pending": {}}', '{"deadline": 1, "pending": 7}']
)
def test_a_damaged_note_of_what_waits_is_as_good_as_none(appliance: Appliance, content: str) -> None:
    trials.begin(appliance, ID)
    appliance.replace_file(appliance.jobs / f"{ID}.pending", content, 0o600)

    found = trials.find(appliance.jobs, "worker")

    assert found is not None and not found.is_waiting


@pytest.mark.parametrize("jump", [-10 * YEAR, 10 * YEAR])
def test_a_clock_that_jumps_changes_nothing(appliance: Appliance, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    trials.begin(appliance, ID)
    deadline = trials.wait(appliance, ID, 60, {})
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)

    found = trials.find(appliance.jobs, "worker")

    assert found and found.seconds_left in (59, 60)
    assert deadline - trials.now() == pytest.approx(60, abs=1)


@pytest.mark.parametrize("jump", [-10 * YEAR, 10 * YEAR])
async def test_a_clock_that_jumps_neither_hurries_nor_stops_a_job(
    jidoteki_client: MakeClient, plugin: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    client = await jidoteki_client(load=[plugin], enable=["worker"])
    boot = trials.now
    passed = 0.0
    monkeypatch.setattr(trials, "now", lambda: boot() + passed)
    id = (await client.request("POST", "/worker", query="confirm=600")).headers["Job-Id"]
    while not (await client.get("/worker")).json.get("pending"):
        await asyncio.sleep(0.05)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)

    await asyncio.sleep(0.5)
    left = (await client.get("/worker")).json["left"]
    assert 590 < left <= 600
    passed = 600.0

    while (await client.get(f"/jobs/{id}")).json["status"] == "running":
        await asyncio.sleep(0.05)
    assert (await client.get(f"/jobs/{id}")).json["error-code"] == "E2001"
    assert (client.appliance.etc / "worker").read_text() == "old"


async def test_a_plugin_of_anybody_has_its_change_confirmed(jidoteki_client: MakeClient, plugin: Path) -> None:
    client = await jidoteki_client(load=[plugin], enable=["worker"])
    id = (await client.request("POST", "/worker", query="confirm=600")).headers["Job-Id"]
    while (await client.get("/worker")).json.get("pending") is None:
        await asyncio.sleep(0.05)

    assert (await client.get("/worker")).json["pending"] == {"worker": "new"}
    assert (await client.post("/worker/confirm", {})).status == 200

    assert (await client.get(f"/jobs/{id}")).json["status"] == "success"
    assert (client.appliance.etc / "worker").read_text() == "new"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("revert=revert", "timeout=60"), "starts no job of this plugin that has a revert"),
        (('starts="worker", ', ""), "starts no job of this plugin that has a revert"),
        (("confirm=0", "confirm=5"), "must be 0, or 10 to 3600 seconds"),
        (("def revert", "async def revert"), "must not be async"),
    ],
)
def test_a_plugin_whose_changes_cannot_be_put_back_is_left_out(
    jidoteki_host: MakeHost, plugin: Path, wrong: tuple[str, str], told: str
) -> None:
    plugin.write_text(PLUGIN.replace(*wrong))
    host = jidoteki_host(load=[plugin])
    host.configure(endpoints=["worker"])
    host.reload()

    answer = host.request("GET", "/worker")

    assert answer.status == 503
    assert told in answer.json["Error-Message"]


REFUSED = "systemd does not start its unit"


@pytest.fixture
def refusing(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What begins to put a change back, while no process can be started."""

    def process(*given: object, **more: object) -> object:
        if launcher.refuses:
            raise OSError(REFUSED)
        return SimpleNamespace()

    monkeypatch.setattr(exit_reasons, "remember", lambda *given: None)
    job = SimpleNamespace(revert=print, resume=None)
    launcher: Any = SimpleNamespace(
        appliance=appliance, records=Records(appliance.jobs), job_types={"worker": (None, job)}, reverting={},
        unstarted=Counter(), lock=Records(appliance.jobs).lock, clear=lambda id: None, process=process, refuses=True,
    )  # fmt: skip
    trials.begin(appliance, ID)
    return launcher


def test_an_attempt_in_which_no_process_began_does_not_count(refusing: Any) -> None:
    record = Record(ID, "worker", confirm=60)
    for _ in range(3 * reverting.MAX_ATTEMPTS):
        assert reverting.begin(refusing, record, "It died")
        assert not refusing.reverting

    refusing.refuses = False

    assert reverting.begin(refusing, record, "It died")
    assert list(refusing.reverting) == [ID]
    assert record.status == "running"


def test_attempts_in_which_no_process_began_end_after_half_an_hour_with_the_reason(refusing: Any) -> None:
    record = Record(ID, "worker", confirm=60)
    tries = 1
    while reverting.begin(refusing, record, "It died"):
        tries += 1
        assert tries < 100

    assert 1200 < sum(min(2.0**n, reverting.TRY_EACH_AT_MOST) for n in range(tries)) < 2400
    assert (record.status, record.error_code, record.unrecovered) == ("failed", "E2001", True)
    assert str(record.error_message).endswith(f": no process for that can be started: {REFUSED}")

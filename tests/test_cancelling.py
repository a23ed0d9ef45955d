"""Jobs that are cancelled: what they may still do, for how long, and what is told of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jidoteki.testing import Host, MakeHost, wait_until

PLUGIN = """
import time
from jidoteki.hookspecs import Endpoint, JobCancelled, JobFailed, JobType, hookimpl

async def start(request):
    return await request.start_job("slow")

async def cancel(request):
    return {{"cancelled": await request.cancel_job("slow")}}

def work(job):
    def wait():
        while True:
            job.progress(50)
            time.sleep(0.02)
    job.log("begun")
    {work}

def recover(appliance, config):
    appliance.replace_file(appliance.tmp / "recovered", repr(dict(config)))

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("slow", work, grace={grace}, recover=recover)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/slow", start), Endpoint("DELETE", "/slow", cancel)]
"""


def running(make: MakeHost, directory: Path, work: str, grace: float = 5) -> tuple[Host, str]:
    """A host with a job under way, and the job's id."""
    path = directory / "slow.py"
    path.write_text(PLUGIN.format(work=work.replace("\n", "\n    "), grace=grace))
    host = make(load=(path,), enable=("slow",))
    id = host.post("/slow").headers["Job-Id"]
    wait_until(lambda: "begun" in log(host))
    return host, id


def log(host: Host) -> str:
    path = host.appliance.log / "slow.log"
    return path.read_text() if path.exists() else ""


def test_what_cleans_up_may_log_and_run_commands(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    work = "try:\n    wait()\nfinally:\n    job.command('echo', 'cleaned', timeout=5)\n    job.log('cleaned up')"
    host, id = running(jidoteki_host, tmp_path, work)

    assert host.curl("DELETE", "/slow").json == {"cancelled": True}

    assert "cleaned\n" in log(host)
    assert "cleaned up" in log(host)
    assert host.get(f"/jobs/{id}").json["status"] == "cancelled"


@pytest.mark.parametrize(
    "work",
    [
        "try:\n    wait()\nexcept JobCancelled:\n    pass",
        "try:\n    wait()\nexcept JobCancelled:\n    raise JobFailed('it was cut short')",
        "try:\n    wait()\nfinally:\n    1 / 0",
    ],
)
def test_a_job_that_was_told_is_cancelled_whatever_it_makes_of_that(
    jidoteki_host: MakeHost, tmp_path: Path, work: str
) -> None:
    host, id = running(jidoteki_host, tmp_path, work)

    host.curl("DELETE", "/slow")

    told = host.get(f"/jobs/{id}").json
    assert told["status"] == "cancelled"
    assert "error-message" not in told


def test_a_job_is_killed_after_its_own_grace(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    work = "try:\n    wait()\nfinally:\n    job.log('cleaning')\n    time.sleep(60)"
    host, id = running(jidoteki_host, tmp_path, work, grace=2)
    began = time.monotonic()

    host.curl("DELETE", "/slow")

    assert 2 <= time.monotonic() - began < 20
    assert "cleaning" in log(host)
    assert host.get(f"/jobs/{id}").json["status"] == "cancelled"


def test_recovery_is_handed_the_configuration(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host, _ = running(jidoteki_host, tmp_path, "try:\n    wait()\nfinally:\n    time.sleep(60)", grace=0.1)

    host.curl("DELETE", "/slow")

    assert (host.appliance.tmp / "recovered").read_text() == "{}"


def test_a_grace_that_is_too_long_leaves_the_plugin_out(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    path = tmp_path / "slow.py"
    path.write_text(PLUGIN.format(work="wait()", grace=31))
    host = jidoteki_host(load=(path,), enable=("slow",))

    assert host.post("/slow").status == 503
    assert "the grace of the job slow must be from 0 to 30 seconds" in host.errors()

"""Cancelled jobs: what they may still do, for how long, and what is reported."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jidoteki.testing import Host, MakeHost, wait_until

PLUGIN = """
import subprocess
import time
from jidoteki.hookspecs import Endpoint, JobCancelledError, JobError, JobType, StatusFiles, hookimpl

async def start(request):
    return await request.start_job("slow")

async def show(request):
    return await request.job_status("slow")

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
    return [Endpoint("POST", "/slow", start), Endpoint("DELETE", "/slow", cancel),
            Endpoint("GET", "/slow", show)]
"""

NEVER_ENDS = "try:\n    wait()\nfinally:\n    time.sleep(60)"


def running(make: MakeHost, directory: Path, work: str, grace: float = 5, plugin: str = PLUGIN) -> tuple[Host, str]:
    """Return a host with a running job, and the job's id."""
    path = directory / "slow.py"
    path.write_text(plugin.format(work=work.replace("\n", "\n    "), grace=grace))
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
        "try:\n    wait()\nexcept JobCancelledError:\n    pass",
        "try:\n    wait()\nexcept JobCancelledError:\n    raise JobError('it was cut short')",
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


def test_a_failure_of_cleaning_up_is_told_by_the_log(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    work = "try:\n    wait()\nfinally:\n    raise JobError('it is still mounted: busy')"
    host, id = running(jidoteki_host, tmp_path, work)

    host.curl("DELETE", "/slow")

    assert "it is still mounted: busy" in log(host)
    assert "it is still mounted: busy" in host.get(f"/jobs/{id}").json["log"]


def test_status_files_and_the_type_say_that_it_was_cancelled(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = PLUGIN.replace("recover=recover", "status_files=StatusFiles('slow.json', 'slow.txt')")
    host, _ = running(jidoteki_host, tmp_path, "wait()", plugin=plugin)

    host.curl("DELETE", "/slow")

    assert host.get("/slow").json["status"] == "cancelled"
    assert (host.appliance.etc / "slow.json").read_text() == '{"status":"cancelled","percentage":50}\n'
    assert (host.appliance.etc / "slow.txt").read_text() == "cancelled\n"


def test_cancelling_twice_leaves_alone_what_cleans_up(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    cleaning = "job.log('cleaning')\n    subprocess.run(['sleep', '1'], check=True)\n    job.log('cleaned')"
    host, _ = running(jidoteki_host, tmp_path, f"try:\n    wait()\nfinally:\n    {cleaning}", grace=20)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(host.curl, "DELETE", "/slow")
        wait_until(lambda: "cleaning" in log(host))
        host.curl("DELETE", "/slow")
        first.result()

    assert "cleaned" in log(host)


@pytest.mark.parametrize("parameters", ["appliance, config", "appliance, config=None", "appliance, section, more=1"])
def test_recovery_is_handed_the_configuration(jidoteki_host: MakeHost, tmp_path: Path, parameters: str) -> None:
    name = parameters.split(", ")[1].partition("=")[0]
    plugin = PLUGIN.replace("(appliance, config):", f"({parameters}):").replace("dict(config)", f"dict({name})")
    host, _ = running(jidoteki_host, tmp_path, NEVER_ENDS, grace=0.1, plugin=plugin)

    host.curl("DELETE", "/slow")

    assert (host.appliance.tmp / "recovered").read_text() == "{}"


@pytest.mark.parametrize(
    ("parameters", "others"), [("appliance", "{}"), ("appliance, really=True", "{'really': True}")]
)
def test_recovery_that_takes_no_configuration_gets_none(
    jidoteki_host: MakeHost, tmp_path: Path, parameters: str, others: str
) -> None:
    plugin = PLUGIN.replace("(appliance, config):", f"({parameters}):\n    others = {{{{**locals()}}}}")
    plugin = plugin.replace("dict(config)", "{{key: others[key] for key in others if key != 'appliance'}}")
    host, _ = running(jidoteki_host, tmp_path, NEVER_ENDS, grace=0.1, plugin=plugin)

    host.curl("DELETE", "/slow")

    assert (host.appliance.tmp / "recovered").read_text() == others


@pytest.mark.parametrize("grace", [31, -1, "'5'", "None", "True", "float('nan')"])
def test_a_grace_that_makes_no_sense_leaves_the_plugin_out(
    jidoteki_host: MakeHost, tmp_path: Path, grace: object
) -> None:
    path = tmp_path / "slow.py"
    path.write_text(PLUGIN.format(work="wait()", grace=grace))
    host = jidoteki_host(load=(path,), enable=("slow",))

    assert host.post("/slow").status == 503
    wait_until(lambda: "the grace of the job slow must be from 0 to 30 seconds" in host.errors())


def test_a_timeout_that_makes_no_sense_leaves_the_plugin_out(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    path = tmp_path / "slow.py"
    path.write_text(PLUGIN.format(work="wait()", grace="5, timeout='60'"))
    host = jidoteki_host(load=(path,), enable=("slow",))

    assert host.post("/slow").status == 503
    wait_until(lambda: "the timeout of the job slow must be a number of seconds above 0" in host.errors())


def test_all_that_a_program_printed_is_returned_up_to_the_limit(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    size = 9 * 1024 * 1024  # longer than the part of a command's output that is logged
    work = (
        f"status, said = job.output('head', '-c', '{size}', '/dev/zero', timeout=60, limit={size})\n"
        "job.log(f'exit status {status}, {len(said)} bytes, {said.count(0)} of them zero')\n"
        f"job.output('head', '-c', '{size + 1}', '/dev/zero', timeout=60, limit={size})"
    )
    host, id = running(jidoteki_host, tmp_path, work)

    wait_until(lambda: host.get(f"/jobs/{id}").json["status"] == "failed")

    assert f"exit status 0, {size} bytes, {size} of them zero" in log(host)
    assert f"head printed more than {size} bytes" in log(host)

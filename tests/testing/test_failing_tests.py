"""What a failing test of a plugin's author says: the file and line of the fault, without a look at the appliance."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jidoteki.core.jobs.processes import is_alive

PLUGIN = """
from jidoteki.hookspecs import Endpoint, JobType, hookimpl
{top}

async def ask(request):
    {handler}
    return {{"status": "ok"}}

async def start(request):
    return await request.start_job("planted")

def work(job):
    job.log("it began")
    {job}

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("planted", work)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [
        Endpoint("GET", "/planted", ask, responses={{200: "It"}}, summary="Ask"),
        Endpoint("POST", "/planted", start, responses={{202: "It"}}, summary="Start", starts="planted"),
    ]
"""

TEST = """
from pathlib import Path

def test_it(jidoteki_host):
    host = jidoteki_host(load=[Path(__file__).with_name("planted.py")], enable=("planted",))
    assert host.get("/planted").status == 200
    assert host.post("/planted").status == 202
    records = host.appliance.jobs
    import json
    from jidoteki.testing import wait_until
    record = wait_until(lambda: [each for each in records.glob("*-planted.json")])[0]
    wait_until(lambda: json.loads(record.read_text())["status"] != "running")
    assert json.loads(record.read_text())["status"] == "success"
"""


def failing(directory: Path, test: str = TEST, plugin: str = PLUGIN, **faults: str) -> str:
    """What pytest prints of a failing test of a plugin with these faults planted."""
    places = {"top": "", "handler": "pass", "job": "pass", **faults}
    (directory / "planted.py").write_text(plugin.format(**places) if plugin == PLUGIN else plugin)
    (directory / "planted.py").chmod(0o644)
    (directory / "test_planted.py").write_text(test)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(directory), str(directory)]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def line_of(directory: Path, fault: str) -> int:
    """The number of the line where a fault was planted."""
    lines = (directory / "planted.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if fault in line)


@pytest.mark.parametrize("place", ["top", "handler", "job"])
def test_a_planted_error_is_named_by_file_and_line(tmp_path: Path, place: str) -> None:
    fault = "raise RuntimeError('planted here')"

    said = failing(tmp_path, **{place: fault})

    assert f'planted.py", line {line_of(tmp_path, fault)}' in said
    assert "RuntimeError: planted here" in said


def test_a_traceback_of_the_service_is_told_once_and_in_lines(tmp_path: Path) -> None:
    fault = "raise RuntimeError('planted here')"

    said = failing(tmp_path, handler=fault).splitlines()

    assert said.count("RuntimeError: planted here") == 1
    assert [line for line in said if line.endswith(f'planted.py", line {line_of(tmp_path, fault)}, in ask')]
    assert f"    {fault}" in said


IN_PROCESS = """
from pathlib import Path
import pytest

@pytest.mark.asyncio
async def test_it(jidoteki_client):
    client = await jidoteki_client(load=[Path(__file__).with_name("planted.py")], enable=["planted"])
    assert (await client.get("/planted")).status == 200
    job = await client.post("/planted")
    assert job.status == 202
    await client.wait_for_job("/jobs/" + job.headers["Job-Id"])
"""


@pytest.mark.parametrize("place", ["top", "handler", "job"])
def test_a_planted_error_is_where_the_test_in_the_same_process_ends(tmp_path: Path, place: str) -> None:
    fault = "raise RuntimeError('planted here')"

    said = failing(tmp_path, IN_PROCESS, **{place: fault})

    assert f"planted.py:{line_of(tmp_path, fault)}: RuntimeError" in said
    if place == "job":
        assert "jidoteki client, log of the failed job 000001-planted" in said


HOOKS = """
import os
from jidoteki.hookspecs import Endpoint, JobType, hookimpl

async def start(request):
    return await request.start_job("planted")

def work(job):
    os._exit(3)

def check(job):
    if job.dry_run:
        raise RuntimeError("planted check")

def recover(appliance):
    raise RuntimeError("planted recovery")

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("planted", work, check, recover=recover)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/planted", start, responses={202: "It"}, summary="Start", starts="planted")]

@hookimpl
def jidoteki_health(appliance):
    raise RuntimeError("planted health")

@hookimpl
def jidoteki_services(appliance):
    raise RuntimeError("planted services")

@hookimpl
async def jidoteki_startup(appliance):
    raise RuntimeError("planted startup")

@hookimpl
def jidoteki_event(event):
    raise RuntimeError("planted event")
"""

TEST_OF_HOOKS = """
from pathlib import Path
from jidoteki.testing import wait_until

def test_it(jidoteki_host):
    host = jidoteki_host(load=[Path(__file__).with_name("planted.py")], enable=("planted",))
    log = host.appliance.log / "jidoteki-admin-api.log"
    wait_until(lambda: "planted health" in log.read_text())
    assert host.get("/services").status == 200
    checked = host.post("/planted", query="dry-run=1")
    assert checked.json["Error-Message"].endswith("the service's log has the details"), checked
    host.post("/planted")
    host.wait_for_job("/jobs/000001-planted")
    wait_until(lambda: "planted event" in log.read_text() and "planted recovery" in log.read_text())
    assert False
"""


def test_what_any_hook_raises_is_told_with_its_file_and_line(tmp_path: Path) -> None:
    said = failing(tmp_path, TEST_OF_HOOKS, HOOKS)

    assert "assert False" in said
    for hook in ("check", "recovery", "health", "services", "startup", "event"):
        line = line_of(tmp_path, fault := f'raise RuntimeError("planted {hook}")')
        assert f'planted.py", line {line}, in' in said, hook
        assert f"    {fault}\nRuntimeError: planted {hook}" in said
        assert said.count(f"\nRuntimeError: planted {hook}") == 1


@pytest.mark.parametrize("hook", ["health", "services"])
def test_what_a_hook_raises_is_raised_by_the_client_that_learns_of_it(tmp_path: Path, hook: str) -> None:
    ask = f'    assert (await client.get("/{hook}")).status == 200\n'

    said = failing(tmp_path, IN_PROCESS.partition("    assert")[0] + ask, HOOKS)

    assert f"planted.py:{line_of(tmp_path, f'planted {hook}')}: RuntimeError" in said


def test_the_log_of_a_failed_job_is_a_section(tmp_path: Path) -> None:
    said = failing(tmp_path, job="raise RuntimeError('planted here')")

    assert "jidoteki host, log of the failed job 000001-planted" in said
    assert "it began" in said


def test_enabling_what_nothing_serves_fails_at_once_in_one_sentence(tmp_path: Path) -> None:
    test = "def test_it(jidoteki_host):\n    jidoteki_host(enable=('plantde',))\n"

    said = failing(tmp_path, test=test)

    assert "AssertionError: enable='plantde': no plugin serves it" in said


def test_a_passing_test_shows_nothing_of_its_host(tmp_path: Path) -> None:
    test = "def test_it(jidoteki_host):\n    jidoteki_host()\n\ndef test_other():\n    assert False\n"

    said = failing(tmp_path, test=test)

    assert "jidoteki host" not in said


OUTLIVED = """
import json
from pathlib import Path
from jidoteki.testing import wait_until

def test_it(jidoteki_host):
    host = jidoteki_host(load=[Path(__file__).with_name("planted.py")], enable=("planted",))
    assert host.post("/planted").status == 202
    records = host.appliance.jobs
    pid = wait_until(lambda: sum(json.loads(each.read_text())["pid"] for each in records.glob("*-planted.json")))
    Path(__file__).with_name("pid").write_text(str(pid))
    assert Path("/proc", str(pid)).exists() and False
"""


def test_a_job_that_would_outlive_its_test_is_ended(tmp_path: Path) -> None:
    shown = failing(tmp_path, OUTLIVED, job="import time; time.sleep(60)")

    assert "and False" in shown
    assert not is_alive(int((tmp_path / "pid").read_text()))

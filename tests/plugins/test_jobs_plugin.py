"""`GET /jobs` and `GET /jobs/ID`: the outcome of every job is available to the client that started it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from documented import document_of, undocumented
from namespaces import Mount

from jidoteki.testing import Host, InProcessClient, MakeClient, MakeHost, wait_until

PREFIX = "/api/v1/admin"
NETWORK = {"interface": "eth7", "hostname": "test.host"}
STORAGE = {"storage": {"type": "aoe", "device": "e0.1"}}


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


@pytest.fixture
async def client(jidoteki_client: MakeClient) -> InProcessClient:
    return await jidoteki_client()


def script(host: Host | InProcessClient, name: str, content: str) -> None:
    path = host.appliance.bin / name
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o755)


def post(host: Host, path: str, document: Any) -> str:
    """Start a job, and return its id."""
    answer = host.post(path, "-F", f"settings={json.dumps(document)}")
    assert answer.status == 202
    return answer.headers["Job-Id"]


def ended(host: Host, id: str) -> dict[str, Any]:
    def shown() -> dict[str, Any] | None:
        job: dict[str, Any] = host.get(f"/jobs/{id}").json
        return job if job["status"] != "running" else None

    found: dict[str, Any] = wait_until(shown)
    return found


async def started(client: InProcessClient, path: str, document: Any) -> str:
    """Start a job, and return its id."""
    answer = await client.post(path, {"settings": json.dumps(document)})
    assert answer.status == 202
    return answer.headers["Job-Id"]


async def outcome(client: InProcessClient, id: str) -> dict[str, Any]:
    return await client.wait_for_job(f"/jobs/{id}")


@pytest.mark.parametrize(("path", "name", "document"), [("/settings", "network.sh", {"network": NETWORK}),
                                                        ("/storage", "storage.sh", STORAGE)])  # fmt: skip
def test_the_job_id_of_a_202_leads_to_why_it_failed(host: Host, path: str, name: str, document: Any) -> None:
    script(host, name, "echo no such device >&2; exit 1")

    job = ended(host, post(host, path, document))

    assert (job["type"], job["status"], job["error-code"]) == (path[1:], "failed", "E1000")
    assert f"{name} failed with exit status 1" in job["error-message"]
    assert "no such device" in job["log"]
    assert job["started"] <= job["finished"]
    assert undocumented(document_of(host), "GET", f"{PREFIX}/jobs/{{id}}", host.get(f"/jobs/{job['id']}")) is None


def test_jobs_are_listed_newest_first(host: Host) -> None:
    ids = [ended(host, post(host, "/settings", {"app": {"name": str(number)}}))["id"] for number in range(3)]

    answer = host.get("/jobs")

    assert [each["id"] for each in answer.json["jobs"]] == ids[::-1]
    assert all("log" not in each and each["status"] == "success" for each in answer.json["jobs"])
    assert undocumented(document_of(host), "GET", f"{PREFIX}/jobs", answer) is None


async def test_jobs_is_served_without_being_enabled_and_then_not_listed(jidoteki_client: MakeClient) -> None:
    plain, enabled = await jidoteki_client(endpoints=[]), await jidoteki_client(endpoints=["jobs"])

    assert [(await each.get("/jobs")).status for each in (plain, enabled)] == [200, 200]
    assert f"{PREFIX}/jobs" not in (await plain.get("/endpoints")).json["endpoints"]
    assert f"{PREFIX}/jobs" in (await enabled.get("/endpoints")).json["endpoints"]


async def test_the_list_of_parameters_does_not_take_the_id_away(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(parameters=[])

    await client.get("/logs")
    job = (await client.get("/jobs")).json["jobs"][0]

    assert (await client.get(f"/jobs/{job['id']}")).json["type"] == "logs"


@pytest.mark.parametrize("id", ["000009-update", "..", "%2e%2e", "a", "x" * 200, "{id}", "%7Bid%7D", "1/2", "..%2Fetc"])
def test_what_is_no_job_is_404(host: Host, id: str) -> None:
    assert host.get(f"/jobs/{id}", "--path-as-is", "--globoff").status == 404


def test_a_job_that_was_killed_is_failed_in_both(host: Host) -> None:
    script(host, "network.sh", "sleep 60")
    id = post(host, "/settings", {"network": NETWORK})
    record = host.appliance.jobs / f"{id}.json"
    pid = wait_until(lambda: json.loads(record.read_text())["pid"])

    os.kill(pid, signal.SIGKILL)

    job = ended(host, id)
    assert job["status"] == "failed" and "ended unexpectedly" in job["error-message"]
    assert host.get("/jobs").json["jobs"][0]["status"] == "failed"


async def test_a_record_that_claims_to_run_while_nothing_does_is_shown_as_failed(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    record = {"id": "000007-vanished", "kind": "vanished", "status": "running", "started": 5.5}
    client.appliance.replace_file(client.appliance.jobs / "000007-vanished.json", json.dumps(record), 0o600)

    job = (await client.get("/jobs/000007-vanished")).json

    assert (job["status"], job["started"], job["finished"], job["log"]) == ("failed", 5, None, None)


def test_the_reason_is_one_line_of_the_services_log(host: Host, tmp_path: Path) -> None:
    script(host, "network.sh", "exit 3")

    id = ended(host, post(host, "/settings", {"network": NETWORK}))["id"]

    def told() -> list[str]:
        text = (host.appliance.log / "jidoteki-admin-api.log").read_text()
        return [line for line in text.splitlines() if f"job.end: {id} failed" in line]

    lines = wait_until(told)
    assert len(lines) == 1 and "network.sh failed with exit status 3" in lines[0]


def test_a_third_partys_path_may_end_with_a_parameter(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "shelf.py"
    plugin.write_text("""
from jidoteki.hookspecs import *
import voluptuous as vol

async def handler(request):
    return dict(request.values)

@hookimpl
def jidoteki_endpoints(appliance):
    parameters = {vol.Required("name"): vol.All(str, vol.Length(max=4)), vol.Optional("count"): str}
    return [Endpoint(method, "/shelf/{name}", handler, parameters=parameters) for method in ("GET", "POST")]
""")
    host = jidoteki_host(load=(plugin,), enable=("shelf",))

    assert host.get("/shelf/b.1/").json == {"name": "b.1"}
    assert host.post("/shelf/b.1", "-F", "count=2").json == {"name": "b.1", "count": "2"}
    assert host.post("/shelf/b.1", "-F", "name=other").status == 400
    assert host.get("/shelf/too-long").status == 400
    assert host.get("/shelf").status == 404
    parameters = document_of(host)["paths"][f"{PREFIX}/shelf/{{name}}"]["get"]["parameters"]
    assert {each["name"]: each["in"] for each in parameters} == {"name": "path", "count": "query"}


def test_a_path_whose_parameter_is_not_declared_is_a_problem(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "shelf.py"
    plugin.write_text("""
from jidoteki.hookspecs import *

async def handler(request):
    return {}

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("GET", "/shelf/{name}", handler)]
""")
    host = jidoteki_host(load=(plugin,), enable=("shelf",))

    answer = host.get("/shelf/x")
    assert answer.status == 503 and "is not among its parameters" in answer.text


@pytest.mark.parametrize(
    ("path", "name", "before", "after"),
    [
        ("/settings", "network.sh", {"network": {**NETWORK, "hostname": "first.host"}}, {"network": NETWORK}),
        ("/settings", "network.sh", {"app": {"name": "first"}}, {"network": NETWORK, "app": {"name": "second"}}),
        ("/storage", "storage.sh", {"storage": {"type": "local"}}, STORAGE),
    ],
)
async def test_a_failing_script_puts_the_former_files_back(
    client: InProcessClient, path: str, name: str, before: Any, after: Any
) -> None:
    files = [client.appliance.etc / f"{each}.json" for each in ("network", "app", "storage")]
    files += [client.appliance.system_etc / f"{each}.conf" for each in ("network", "storage")]
    await outcome(client, await started(client, path, before))
    former = {each: each.read_bytes() if each.exists() else None for each in files}
    script(client, name, "exit 1")

    job = await outcome(client, await started(client, path, after))

    assert job["status"] == "failed" and "The former settings are back" in job["log"]
    assert {each: each.read_bytes() if each.exists() else None for each in files} == former


@pytest.mark.parametrize(
    ("path", "name", "document"),
    [("/settings", "network.sh", {"network": NETWORK}), ("/storage", "storage.sh", STORAGE)],
)
async def test_where_nothing_is_set_the_answer_says_that_the_last_change_failed(
    client: InProcessClient, path: str, name: str, document: Any
) -> None:
    script(client, name, "exit 1")
    await outcome(client, await started(client, path, document))

    answer = await client.get(path)

    assert answer.status == 404
    assert answer.json["Error-Message"].endswith(f"the last change failed: {name} failed with exit status 1")


async def test_former_files_that_cannot_be_put_back_are_told_of(client: InProcessClient) -> None:
    await outcome(client, await started(client, "/settings", {"network": NETWORK}))
    settings = client.appliance.etc / "network.json"
    script(client, "network.sh", f"rm {settings}; mkdir {settings}; exit 1")

    job = await outcome(client, await started(client, "/settings", {"network": NETWORK}))

    assert "network.sh failed with exit status 1; the former files could not be put back" in job["error-message"]


async def test_settings_that_cannot_be_written_are_said_to_stay_and_nothing_else(client: InProcessClient) -> None:
    await outcome(client, await started(client, "/settings", {"network": NETWORK}))
    files = [client.appliance.etc / "network.json", client.appliance.system_etc / "network.conf"]
    former = [each.read_bytes() for each in files]
    if subprocess.run(["chattr", "+i", files[1]], check=False, capture_output=True).returncode:
        pytest.skip("this system can have no immutable file")
    try:
        job = await outcome(client, await started(client, "/settings", {"network": {**NETWORK, "hostname": "other"}}))
    finally:
        subprocess.run(["chattr", "-i", files[1]], check=True)

    assert (
        job["error-message"]
        == "The settings cannot be written and stay as they were: network.conf is immutable or append-only"
    )
    assert [each.read_bytes() for each in files] == former


async def test_a_link_in_the_place_of_former_settings_is_not_followed(client: InProcessClient, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    link = client.appliance.etc / "network.json"
    link.symlink_to(tmp_path / "secret")
    script(client, "network.sh", "exit 1")

    job = await outcome(client, await started(client, "/settings", {"network": NETWORK}))

    assert job["error-message"] == "network.sh failed with exit status 1"
    assert link.readlink() == tmp_path / "secret", "a copy of what it leads to could be read by others"
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize(
    ("persist", "reboot", "told"),
    [
        ("false", "true", "The persist command failed with exit status 1; the system does not reboot"),
        ("true", "false", "The reboot command failed with exit status 1; the system does not reboot"),
        ("ls /nonexistent/flash", "true", "exit status 2: ls: cannot access '/nonexistent/flash'"),
        ("/nonexistent", "true", "The persist command failed: nonexistent cannot be run"),
    ],
)
async def test_a_reboot_that_fails_says_so(jidoteki_client: MakeClient, persist: str, reboot: str, told: str) -> None:
    client = await jidoteki_client(commands={"persist": persist.split(), "reboot": [reboot]})

    job = await outcome(client, (await client.post("/reboot")).headers["Job-Id"])

    assert told in job["error-message"]
    assert told in job["log"] and told in (client.appliance.log / "reboot.log").read_text()


async def test_a_job_that_gives_no_reason_in_its_log_has_it_there(jidoteki_client: MakeClient, tmp_path: Path) -> None:
    plugin = tmp_path / "silent.py"
    plugin.write_text("""
from jidoteki.hookspecs import *

def run(job):
    raise JobError("It rained", "E2000")

async def handler(request):
    return await request.start_job("silent")

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("silent", run)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/silent", handler)]
""")
    client = await jidoteki_client(load=(plugin,), enable=("silent",))

    job = await outcome(client, (await client.post("/silent")).headers["Job-Id"])

    assert (job["error-message"], job["error-code"]) == ("It rained", "E2000")
    assert job["log"].endswith("It rained")
    assert (client.appliance.log / "silent.log").read_text().count("It rained") == 1


PRINTS = """
from jidoteki.hookspecs import *

def run(job):
    status, said = job.output("sh", "-c", "printf one; printf two >&2; exit 3", timeout=10)
    job.log(f"{status} {said.decode()}")
    job.output("head", "-c", "300000", "/dev/zero", timeout=10, limit=1000)

async def handler(request):
    return await request.start_job("prints")

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("prints", run)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/prints", handler)]

@hookimpl
def jidoteki_event(event):
    if event.action == "job.end":
        with open(FILE, "a") as file:
            print(event.outcome, event.code, event.message, 0 <= event.duration < 60, file=file)
"""


async def test_a_job_reads_what_a_program_prints_and_its_end_is_an_event(
    jidoteki_client: MakeClient, tmp_path: Path
) -> None:
    plugin, told = tmp_path / "prints.py", tmp_path / "told"
    plugin.write_text(PRINTS.replace("FILE", repr(str(told))))
    client = await jidoteki_client(load=(plugin,), enable=("prints",))

    job = await outcome(client, (await client.post("/prints")).headers["Job-Id"])

    assert "3 onetwo" in job["log"] and "\0" not in job["log"]
    assert job["error-message"] == "head printed more than 1000 bytes"
    assert await asyncio.to_thread(wait_until, lambda: told.exists() and told.read_text()) == (
        "failed E1000 head printed more than 1000 bytes True\n"
    )


@pytest.mark.parametrize(("status", "ending"), [(0, "success"), (3, "failed")])
def test_how_a_job_ended_that_filled_the_disk_is_recorded(
    jidoteki_host: MakeHost, mount: Mount, status: int, ending: str
) -> None:
    host = jidoteki_host(start=False)
    mount(host.appliance.jobs)
    host.start()
    fill = host.appliance.jobs / "fill"
    script(host, "network.sh", f"cat /dev/zero > {fill}; while printf x >> {fill}; do :; done; exit {status}")

    id = post(host, "/settings", {"network": NETWORK})

    full = ended(host, id)
    fill.unlink()
    for job in (full, host.get(f"/jobs/{id}").json):
        assert job["status"] == ending, job
        assert status == 0 or job["error-message"].startswith("network.sh failed with exit status 3"), job

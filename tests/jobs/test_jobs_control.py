"""`/jobs` in pages, the whole log of a run, and cancelling runs by id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from documented import document_of, undocumented

from jidoteki.core.endpoints.update.build import build_package
from jidoteki.core.jobs.processes import session_members
from jidoteki.testing import Host, InProcessClient, MakeClient, MakeHost, wait_until
from jidoteki.testing.fixtures import TOKEN
from jidoteki.testing.host import COMMAND

PREFIX = "/api/v1/admin"

PLUGIN = """
import time
from jidoteki.hookspecs import Endpoint, JobCancelledError, JobType, hookimpl

async def start(request):
    return await request.start_job(request.values.get("kind", "slow"))

def wait(job):
    job.log("begun")
    while not (job.appliance.tmp / "go-on").exists():
        job.progress(50)
        time.sleep(0.02)
    job.log("went on")

def stubborn(job):
    job.command("sh", "-c", "trap '' TERM; echo begun; sleep 60 & sleep 60", timeout=100)

def committing(job):
    wait(job)
    job.commit()
    job.log("committed")
    while not (job.appliance.tmp / "end").exists():
        job.progress(80)
        time.sleep(0.02)

KINDS = {"slow": wait, "stubborn": stubborn, "committing": committing}

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("closed", wait), *(JobType(name, run, cancellable=True) for name, run in KINDS.items())]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/slow", start, parameters={"kind": str})]
"""


@pytest.fixture
def host(jidoteki_host: MakeHost, tmp_path: Path) -> Host:
    plugin = tmp_path / "slow.py"
    plugin.write_text(PLUGIN)
    return jidoteki_host(load=(plugin,), enable=("slow",))


def begin(host: Host, kind: str = "slow") -> str:
    """Return the id of a job that has written its first line."""
    id = host.request("POST", "/slow", {"kind": kind}).headers["Job-Id"]
    wait_until(lambda: "begun" in host.request("GET", f"/jobs/{id}/log").text)
    return id


def write_records(directory: Path, count: int) -> list[str]:
    """Write records of runs that have ended, oldest first; every third is a backup, every fifth failed."""
    ids = []
    for number in range(1, count + 1):
        kind = "settings" if number % 3 else "backup"
        id = f"{number:06d}-{kind}"
        record = {
            "id": id, "kind": kind, "status": "success" if number % 5 else "failed", "started": 1000 + number,
            "ended": 1001 + number, "client": "192.0.2.7", "user": "admin",
        }  # fmt: skip
        (directory / f"{id}.json").write_text(json.dumps(record))
        (directory / f"{id}.json").chmod(0o600)
        ids.append(id)
    return ids


async def pages(client: InProcessClient, query: str) -> list[list[str]]:
    found, before = [], ""
    while True:
        answer = await client.get("/jobs", query=f"{query}{before}")
        assert answer.status == 200, answer
        found.append([each["id"] for each in answer.json["jobs"]])
        if answer.json["next"] is None:
            return found
        before = f"&before={answer.json['next']}"


async def test_a_list_is_filtered_and_comes_in_pages(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    ids = write_records(client.appliance.jobs, 100)[::-1]

    assert await pages(client, "") == [ids]
    assert await pages(client, "limit=30") == [ids[:30], ids[30:60], ids[60:90], ids[90:]]
    backups = [each for each in ids if each.endswith("backup")]
    assert await pages(client, "type=backup&limit=20") == [backups[:20], backups[20:]]
    assert await pages(client, "type=backup&status=failed") == [[each for each in backups if int(each[:6]) % 5 == 0]]
    assert await pages(client, "type=nothing") == [[]]
    assert await pages(client, "before=900000-gone&limit=100") == [ids]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=-1", "limit=1.5", "limit=%D9%A1", "status=ended", "type=A", "type=..%2Fetc",
     "before=x", "before=000001", "before=000001-a%0A", "limit=1&limit=2"],
)  # fmt: skip
async def test_what_is_no_page_is_refused(jidoteki_client: MakeClient, query: str) -> None:
    client = await jidoteki_client()

    assert (await client.get("/jobs", query=query)).status == 400


async def test_a_list_shows_what_a_record_became(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    id = write_records(client.appliance.jobs, 3)[-1]
    path = client.appliance.jobs / f"{id}.json"
    old = time.time_ns() - 10**12
    os.utime(path, ns=(old, old))
    for status in ("success", "failed", "success"):
        changed = json.loads(path.read_text()) | {"status": status}
        client.appliance.replace_file(path, json.dumps(changed), 0o600)
        assert [each["status"] for each in (await client.get("/jobs")).json["jobs"]][0] == status
    path.unlink()
    assert len((await client.get("/jobs")).json["jobs"]) == 2


def test_a_log_is_followed_by_range(host: Host) -> None:
    id = begin(host)

    first = host.curl("GET", f"/jobs/{id}/log")
    assert first.headers["Content-Type"] == "text/plain; charset=utf-8"
    length = len(first.body)
    nothing = host.curl("GET", f"/jobs/{id}/log", "-H", f"Range: bytes={length}-")
    (host.appliance.tmp / "go-on").touch()
    wait_until(lambda: host.request("GET", f"/jobs/{id}").json["status"] == "success")
    more = host.curl("GET", f"/jobs/{id}/log", "-H", f"Range: bytes={length}-")

    assert nothing.status == 416
    assert more.status == 206 and b"went on" in more.body and b"begun" not in more.body
    assert host.curl("GET", f"/jobs/{id}/log").body == first.body + more.body
    assert host.curl("GET", "/jobs/900000-absent/log").status == 404


def test_a_run_is_cancelled_by_its_id(host: Host) -> None:
    id = begin(host)
    assert host.request("GET", f"/jobs/{id}").json["cancellable"] is True
    assert host.post(f"/jobs/{id}/cancel", query="dry-run=1").status == 200
    assert host.request("GET", f"/jobs/{id}").json["status"] == "running"

    answer = host.post(f"/jobs/{id}/cancel")

    assert (answer.status, answer.json["status"], answer.json["cancellable"]) == (200, "cancelled", False)
    assert undocumented(document_of(host), "POST", f"{PREFIX}/jobs/{{id}}/cancel", answer) is None
    assert undocumented(document_of(host), "GET", f"{PREFIX}/jobs", host.get("/jobs")) is None
    assert host.get(f"/jobs/{id}").json["status"] == "cancelled"
    host.assert_audited("jobs.cancel", id)
    again = host.post(f"/jobs/{id}/cancel")
    assert (again.status, again.json["Error-Message"]) == (400, "The job has ended already: cancelled")
    assert host.post("/jobs/900000-absent/cancel").status == 404


def test_one_that_does_not_want_to_end_is_gone_within_a_second_with_all_it_started(host: Host) -> None:
    id = begin(host, "stubborn")
    pid = json.loads((host.appliance.jobs / f"{id}.json").read_text())["pid"]
    started = time.monotonic()

    answer = host.request("POST", f"/jobs/{id}/cancel")

    assert answer.json["status"] == "cancelled" and time.monotonic() - started < 1
    assert session_members(pid) == []


def test_a_type_that_is_not_cancellable_goes_on(host: Host) -> None:
    id = begin(host, "closed")

    answer = host.post(f"/jobs/{id}/cancel")

    assert (answer.status, answer.json["Error-Message"]) == (400, "Jobs of the type closed cannot be cancelled")
    shown = host.get(f"/jobs/{id}").json
    assert (shown["status"], shown["cancellable"]) == ("running", False)


def test_a_run_is_not_cancelled_once_there_is_no_way_back_nor_after_a_restart_of_the_service(host: Host) -> None:
    id = begin(host, "committing")
    assert host.get(f"/jobs/{id}").json["cancellable"] is True
    (host.appliance.tmp / "go-on").touch()
    wait_until(lambda: "committed" in host.request("GET", f"/jobs/{id}/log").text)

    answers = [host.post(f"/jobs/{id}/cancel")]
    host.stop(signal.SIGKILL)
    host.start()
    answers.append(host.post(f"/jobs/{id}/cancel"))

    assert [each.status for each in answers] == [400, 400]
    assert all("past the point where it can be cancelled" in each.json["Error-Message"] for each in answers)
    assert host.get(f"/jobs/{id}").json["cancellable"] is False
    (host.appliance.tmp / "end").touch()
    wait_until(lambda: host.request("GET", f"/jobs/{id}").json["status"] == "success")


def test_a_run_that_the_service_found_after_a_restart_is_cancelled(host: Host) -> None:
    id = begin(host)
    host.stop(signal.SIGKILL)
    host.start()

    assert host.post(f"/jobs/{id}/cancel").json["status"] == "cancelled"


def test_what_the_command_line_started_is_cancelled_by_the_service(host: Host) -> None:
    script = (
        "from jidoteki.core.cli.update import *\n"
        "import sys; from pathlib import Path\n"
        "appliance = Appliance(Path(sys.argv[1])); appliance.prepare()\n"
        "assembly = assemble(appliance, loading.load(appliance.configuration))\n"
        "print(assembly.launcher.start('slow', {}, 'local', 'root')[0].id, flush=True)\n"
    )
    done = subprocess.run([COMMAND[0], "-c", script, host.appliance.root], capture_output=True, text=True, check=True)
    id = done.stdout.strip()
    wait_until(lambda: "begun" in host.request("GET", f"/jobs/{id}/log").text)

    assert host.post(f"/jobs/{id}/cancel").json["status"] == "cancelled"


def test_a_token_that_may_read_may_not_cancel(host: Host) -> None:
    host.configure(authentication={"named-tokens": True}, endpoints=["slow", "tokens"])
    host.reload()
    reader = host.request("POST", "/tokens", {"name": "reader", "scopes": "read"}).json["token"]
    id = begin(host)

    answer = host.curl("POST", f"/jobs/{id}/cancel", "-H", f"Authorization: Bearer {reader}", auth="none")

    assert answer.status == 403 and host.get(f"/jobs/{id}").json["status"] == "running"


def test_a_third_partys_parameter_may_stand_in_the_middle(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "shelf.py"
    plugin.write_text("""
from jidoteki.hookspecs import *
import voluptuous as vol

async def handler(request):
    return dict(request.values)

@hookimpl
def jidoteki_endpoints(appliance):
    name = {vol.Required("name"): str}
    return [Endpoint("GET", "/shelf/{name}", handler, parameters=name),
            Endpoint("GET", "/shelf/{name}/books/all", handler, parameters=name),
            Endpoint("GET", "/shelf/top/books/all", handler)]
""")
    host = jidoteki_host(load=(plugin,), enable=("shelf",))

    def shown(path: str) -> Any:
        answer = host.get(path, "--path-as-is")
        return answer.json if answer.status == 200 else answer.status

    assert shown("/shelf/b.1") == {"name": "b.1"}
    assert shown("/shelf/b.1/books/all") == shown("/shelf/b.1/books/all/") == {"name": "b.1"}
    assert shown("/shelf/top/books/all") == {}
    assert [shown(each) for each in ("/shelf/b.1/books", "/shelf//books/all", "/shelf/../books/all")] == [404] * 3
    assert shown("/shelf/" + "a/" * 2000) == 404


def jobs(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JIDOTEKI_TOKEN": TOKEN, "JIDOTEKI_URL": host.url}
    argv = [*COMMAND, "jobs", *arguments, "--cacert", str(host.certificate)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_lists_follows_and_cancels(host: Host) -> None:
    id = begin(host)

    listed = jobs(host, "list", "--status", "running")
    as_json = jobs(host, "list", "--json", "--type", "slow")
    shown = jobs(host, "log", id)
    following = subprocess.Popen(
        [*COMMAND, "jobs", "log", "--follow", id, "--cacert", str(host.certificate)],
        env={**os.environ, "JIDOTEKI_TOKEN": TOKEN, "JIDOTEKI_URL": host.url},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert following.stdout and "begun" in following.stdout.readline()
    cancelled = jobs(host, "cancel", id)
    again = jobs(host, "cancel", id)

    assert listed.returncode == 0 and listed.stdout.splitlines()[1].split()[:2] == [id, "running"]
    assert [each["id"] for each in json.loads(as_json.stdout)] == [id]
    assert "begun" in shown.stdout
    assert (cancelled.returncode, cancelled.stdout) == (0, f"{id} is cancelled\n")
    assert following.wait(10) == 0
    assert (again.returncode, again.stderr) == (1, "jidoteki: The job has ended already: cancelled\n")
    assert jobs(host, "log", "../version").returncode == 2


def test_an_update_is_cancelled_until_its_script_begins_and_not_after(host: Host, tmp_path: Path) -> None:
    source, vendor = tmp_path / "source", host.appliance.root / "vendor"
    source.mkdir()
    go_on = tmp_path / "go-on"
    (source / "update.sh").write_text(f"#!/bin/sh\necho begun\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\n")
    package = tmp_path / "package.enc"
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", package)
    id = host.post("/update", "-F", f"update=@{package}").headers["Job-Id"]
    wait_until(lambda: "begun" in host.request("GET", f"/jobs/{id}/log").text)

    answer = host.post(f"/jobs/{id}/cancel")

    assert answer.status == 400 and "past the point where it can be cancelled" in answer.json["Error-Message"]
    assert host.get(f"/jobs/{id}").json["cancellable"] is False
    go_on.touch()
    assert host.wait_for_job("/update")["status"] == "success"
    assert host.get("/version").json["version"] == "2.0.0"


@pytest.mark.parametrize("seconds", [0, 0.2, 0.8])
def test_an_update_that_is_cancelled_leaves_no_package_behind(host: Host, tmp_path: Path, seconds: float) -> None:
    (tmp_path / "package.enc").write_bytes(os.urandom(20 * 1024 * 1024))
    id = host.post("/update", "-F", f"update=@{tmp_path}/package.enc").headers["Job-Id"]
    time.sleep(seconds)

    host.post(f"/jobs/{id}/cancel")

    wait_until(lambda: list(host.appliance.spool.glob("*.enc")) == [])


def test_packages_of_updates_that_ended_without_a_service_are_removed_by_the_next(host: Host) -> None:
    host.stop()
    (host.appliance.spool / "software_package-0123456789abcdef.enc").write_bytes(b"x")
    (host.appliance.uploads / "software_package-1.enc").write_bytes(b"x")

    host.start()

    assert list(host.appliance.spool.glob("*.enc")) == []
    assert (host.appliance.uploads / "software_package-1.enc").exists(), "what came by SFTP waits for an update"


def test_the_audit_log_names_the_run_that_was_cancelled(host: Host) -> None:
    id = "000009-none"

    assert host.post(f"/jobs/{id}/cancel").status == 404

    assert any(line[5] == f"POST /api/v1/admin/jobs/{id}/cancel 404" for line in host.audit())

"""The client in the test's process: handlers and jobs run where a debugger is, and tell what they raised."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
from places import SAMPLES

from jidoteki.testing import InProcessClient, MakeClient

PLUGIN = SAMPLES / "greeter.py"


@pytest.fixture
async def client(jidoteki_client: MakeClient) -> InProcessClient:
    """A client of a service with the plugin."""
    return await jidoteki_client(load=[PLUGIN], enable=["greeting", "greet"])


@pytest.fixture
def greeter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The plugin as a module that the test imports."""
    (tmp_path / "importable_greeter.py").write_bytes(PLUGIN.read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("importable_greeter")


@pytest.fixture
def stops() -> Any:
    """Break at the lines of the plugin's file as a debugger does, by a trace function of all threads."""
    stopped: list[tuple[str, int]] = []

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != str(PLUGIN):
            return None
        if event == "call":
            stopped.append((frame.f_code.co_name, os.getpid()))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    threading.settrace(trace)
    yield stopped
    sys.settrace(before)
    threading.settrace(before)


async def test_a_breakpoint_in_a_handler_is_hit(client: InProcessClient, stops: list[tuple[str, int]]) -> None:
    answer = await client.get("/greeting", {"name": "you"})

    assert answer.json == {"greeting": "Hello, you"}
    assert [("greet", os.getpid()), ("greeting", os.getpid())] == [each for each in stops if "greet" in each[0]]


async def test_a_breakpoint_in_a_job_is_hit(client: InProcessClient, stops: list[tuple[str, int]]) -> None:
    await client.post("/greet", {"name": "you"})
    status = await client.wait_for_job("/greet")

    assert status["status"] == "success"
    assert "Hello, you" in status["log"]
    assert ("check", os.getpid()) in stops
    assert ("run", os.getpid()) in stops


async def test_what_a_test_patches_in_a_module_counts_in_handlers_and_jobs(
    jidoteki_client: MakeClient, greeter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await jidoteki_client(load=[greeter], enable=["greeting", "greet"])
    monkeypatch.setattr(greeter, "greeting", lambda name: f"Patched, {name}")

    answer = await client.get("/greeting", {"name": "you"})
    await client.post("/greet", {"name": "you"})

    assert answer.json == {"greeting": "Patched, you"}
    assert "Patched, you" in (await client.wait_for_job("/greet"))["log"]


async def test_what_a_handler_raised_is_raised_with_its_traceback(client: InProcessClient) -> None:
    with pytest.raises(LookupError, match="the handler crashed") as caught:
        await client.get("/greeting", {"name": "crash"})

    assert (str(PLUGIN), "greet") in [(each.path and str(each.path), each.name) for each in caught.traceback]
    assert (await client.get("/greeting")).status == 200


async def test_what_a_job_raised_is_raised_with_its_traceback(client: InProcessClient) -> None:
    async def crash() -> None:
        # The request itself raises it if the job has ended by its response.
        await client.post("/greet", {"name": "crash"})
        await client.wait_for_job("/greet")

    with pytest.raises(LookupError, match="the job crashed") as caught:
        await crash()

    assert (str(PLUGIN), "run") in [(each.path and str(each.path), each.name) for each in caught.traceback]
    assert (await client.wait_for_job("/greet"))["status"] == "failed"


async def test_what_a_check_raised_in_a_dry_run_is_raised(client: InProcessClient) -> None:
    with pytest.raises(LookupError, match="the check crashed"):
        await client.post("/greet", {"name": "stumble"}, query="dry-run=1")


async def test_who_wants_the_answers_of_the_host_gets_them(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(load=[PLUGIN], enable=["greeting", "greet"], raise_server_exceptions=False)

    answer = await client.get("/greeting", {"name": "crash"})
    await client.post("/greet", {"name": "crash"})
    status = await client.wait_for_job("/greet")

    assert answer.status == 500
    assert (status["status"], status["error-code"]) == ("failed", "E1000")


async def test_errors_of_the_contract_are_answers(client: InProcessClient) -> None:
    missing = await client.post("/greet")
    refused = await client.post("/greet", {"name": "refused"}, query="dry-run=1")
    await client.post("/greet", {"name": "refused"})
    status = await client.wait_for_job("/greet")

    assert (missing.status, "name is required" in missing.json["Error-Message"]) == (400, True)
    assert (refused.status, refused.json["error-code"]) == (400, "GREET1")
    assert (status["status"], status["error-code"]) == ("failed", "GREET1")


@pytest.mark.parametrize(("auth", "status"), [("hash", 200), ("token", 200), ("none", 403)])
async def test_requests_are_authenticated_unless_they_ask_not_to_be(
    client: InProcessClient, auth: str, status: int
) -> None:
    assert (await client.get("/greeting", auth=auth)).status == status


async def test_requests_and_jobs_are_audited(client: InProcessClient) -> None:
    answer = await client.post("/greet", {"name": "you"})
    await client.wait_for_job("/greet")

    await client.assert_audited("request.done", "POST /api/v1/admin/greet 202")
    assert answer.headers["Job-Id"] == "000001-greet"
    with pytest.raises(AssertionError, match="No line request.done GET"):
        await client.assert_audited("request.done", "GET /", seconds=0)


async def test_the_plugin_has_its_section_of_the_configuration(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(load=[PLUGIN], enable=["greeting"], plugins={"greeter": {"name": "all"}})

    assert (await client.get("/greeting")).json == {"greeting": "Hello, all"}


async def test_a_job_is_cancelled_as_by_the_host(client: InProcessClient) -> None:
    await client.post("/greet", {"name": "endless"})

    ended = await client.request("DELETE", "/greet")

    assert ended.json == {"ended": True}
    assert (await client.get("/greet")).json["status"] == "cancelled"


async def test_a_job_that_does_not_hear_is_named(client: InProcessClient, tmp_path: Path) -> None:
    await client.post("/greet", {"name": "stubborn"})
    while "Hello, stubborn" not in ((await client.get("/greet")).json["log"] or ""):
        await asyncio.sleep(0.01)
    [workspace] = client.appliance.admin.glob("tmp/*/work")

    with pytest.raises(RuntimeError, match="The job 000001-greet goes on, and a thread cannot be killed"):
        await client.request("DELETE", "/greet")

    workspace.rename(tmp_path / "moved")  # which ends it
    with pytest.raises(FileNotFoundError):
        await client.wait_for_job("/greet")


async def test_enabling_what_nothing_serves_fails_at_once(jidoteki_client: MakeClient) -> None:
    with pytest.raises(AssertionError, match="enable='greting': no plugin serves it"):
        await jidoteki_client(load=[PLUGIN], enable=["greting"])


async def test_the_fault_in_a_plugin_that_is_left_out_is_the_cause(jidoteki_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise LookupError('at import')\n")

    with pytest.raises(AssertionError, match="enable='broken'") as caught:
        await jidoteki_client(load=[tmp_path / "broken.py"], enable=["broken"])

    assert isinstance(caught.value.__cause__, LookupError)


async def test_a_file_is_sent_and_a_part_of_another_downloaded(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    (client.appliance.etc / "backup.txt").write_text("config\n")
    (client.appliance.data / "config").mkdir(parents=True)

    refused = await client.post("/settings", {"settings": b"{}"})
    await client.post("/backup", {"action": "START"})
    await client.wait_for_job("/backup")
    whole = await client.get("/backup/download")
    part = await client.get("/backup/download", headers={"Range": "bytes=0-5"})

    assert (refused.status, "settings must hold" in refused.json["Error-Message"]) == (400, True)
    assert (whole.status, int(whole.headers["Content-Length"])) == (200, len(whole.body))
    assert (part.status, part.body) == (206, whole.body[:6])


async def test_files_have_the_modes_of_a_service(client: InProcessClient) -> None:
    await client.post("/greet", {"name": "you"})
    await client.wait_for_job("/greet")

    assert {path.stat().st_mode & 0o077 for path in client.appliance.jobs.glob("*.json")} == {0}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_jobs_leave_no_descriptor_open(client: InProcessClient) -> None:
    await client.post("/greet", {"name": "you"})
    await client.wait_for_job("/greet")
    before = descriptors()

    for _ in range(10):
        await client.post("/greet", {"name": "you"})
        await client.wait_for_job("/greet")

    for _ in range(200):  # what is being closed
        if descriptors() <= before:
            break
        await asyncio.sleep(0.01)
    assert descriptors() <= before + 2


def test_the_umask_of_the_test_is_as_it_was(request: pytest.FixtureRequest) -> None:
    umask = os.umask(0o027)
    os.umask(0o027)

    assert umask != 0o077
    os.umask(umask)


async def test_a_plugin_may_be_named_by_a_string(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(load=[str(PLUGIN)], enable=["greeting", "greet"])

    assert (await client.request("GET", "/greeting")).status == 200


async def test_a_query_in_the_path_is_an_error_that_says_where_it_belongs(client: InProcessClient) -> None:
    with pytest.raises(ValueError, match="is passed as query="):
        await client.request("GET", "/greeting?a=b")


AS_ROOT = """
import voluptuous as vol
from jidoteki.hookspecs import Endpoint, JobType, hookimpl


async def banner(request):
    return await request.start_job("banner", text=request.values["text"])


@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("banner", lambda job: None, privileged=True, input=INPUT)]


@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/banner", banner, parameters={vol.Required("text"): str})]
"""


async def test_roots_programs_in_a_job_that_is_not_roots_are_a_mistake(
    jidoteki_client: MakeClient, tmp_path: Path
) -> None:
    run = 'lambda job: job.command("true", timeout=5, privileged=True), input='
    plugin = AS_ROOT.replace("lambda job: None, privileged=True, input=", run).replace("INPUT", "None")
    (tmp_path / "banner.py").write_text(plugin)
    client = await jidoteki_client(load=[tmp_path / "banner.py"], enable=["banner", "jobs"])

    with pytest.raises(TypeError, match=r"what is to be root's needs JobType\('banner', …, privileged=True\)"):
        await client.wait_for_job(f"/jobs/{(await client.post('/banner', {'text': 'x'})).headers['Job-Id']}")


@pytest.mark.parametrize(
    ("accepted", "told"),
    [
        ("None", "Jobs of the type banner take no input: their JobType has no `input` for it"),
        ("vol.Schema({})", "The job's input.text is unknown"),
        ('vol.Schema({"text": str})', None),
    ],
)
async def test_an_input_that_root_would_refuse_is_told(
    jidoteki_client: MakeClient, tmp_path: Path, accepted: str, told: str | None
) -> None:
    (tmp_path / "banner.py").write_text(AS_ROOT.replace("INPUT", accepted))
    client = await jidoteki_client(load=[tmp_path / "banner.py"], enable=["banner", "jobs"])

    async def run() -> None:
        id = (await client.post("/banner", {"text": "x"})).headers["Job-Id"]
        assert (await client.wait_for_job(f"/jobs/{id}"))["status"] == "success"

    if told is None:
        await run()
    else:
        with pytest.raises(Exception, match=told):
            await run()

"""The fakes of the kit: they record, they answer as they are told, and they are all that the contract asks for."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from jidoteki.hookspecs import Job, JobCancelledError, JobError, JobOutcome, JobRecord, JsonResponse, Request
from jidoteki.testing import FakeJob, FakeRequest, MakeAppliance


def test_the_fakes_have_every_member_of_the_contract_with_its_signature(jidoteki_appliance: MakeAppliance) -> None:
    appliance = jidoteki_appliance()
    for protocol, fake in ((Job, FakeJob(appliance)), (Request, FakeRequest(appliance))):
        members = [name for name in vars(protocol) if not name.startswith("_")]
        assert [name for name in members if not hasattr(fake, name)] == []
        for name in members:
            if inspect.isfunction(vars(protocol)[name]):
                asked, had = (inspect.signature(getattr(each, name)) for each in (protocol, type(fake)))
                assert list(asked.parameters) == list(had.parameters), name


def test_a_job_records_and_answers_what_it_was_told_to(jidoteki_appliance: MakeAppliance) -> None:
    job = FakeJob(jidoteki_appliance(), exit_statuses={"ping": 1}, outputs={"df": b"full"})

    job.log("began")
    job.log_plain("plain")
    job.progress(50)
    statuses = job.command("/bin/ping", "a.example", timeout=1), job.script(Path("/opt/run.sh"), "x", timeout=1)
    printed = job.output("df", "/", timeout=1)
    job.unpack(Path("a.tar"), Path("into"), Path("below"))

    assert (job.lines, job.percentages) == (["began", "plain"], [50])
    assert (statuses, printed) == ((1, 0), (0, b"full"))
    assert job.vendor_command("network.sh", "dhcp")
    assert not job.apply("app", {"a": 1})
    assert job.calls == [
        ("command", "/bin/ping", "a.example"),
        ("script", Path("/opt/run.sh"), "x"),
        ("output", "df", "/"),
        ("unpack", Path("a.tar"), Path("into"), Path("below")),
        ("vendor_command", "network.sh", "dhcp"),
        ("apply", "app", {"a": 1}),
    ]


def test_a_job_fails_as_a_real_one_does(jidoteki_appliance: MakeAppliance) -> None:
    job = FakeJob(jidoteki_appliance(), exit_statuses={"network.sh": 3}, outputs={"df": b"too long"})

    with pytest.raises(JobError, match=r"network\.sh failed with exit status 3"):
        job.vendor_command("network.sh")
    with pytest.raises(JobError, match="df printed more than 3 bytes"):
        job.output("df", timeout=1, limit=3)


def test_a_cancelled_job_is_told_once(jidoteki_appliance: MakeAppliance) -> None:
    job = FakeJob(jidoteki_appliance(), cancelled=True)

    with pytest.raises(JobCancelledError):
        job.progress(10)
    job.log("cleaning up")

    assert (job.percentages, job.lines) == ([], ["cleaning up"])


async def test_a_request_records_the_jobs_that_it_starts(jidoteki_appliance: MakeAppliance) -> None:
    failure = JobOutcome("1", "failed", "why", "E1")
    request = FakeRequest(jidoteki_appliance(), {"host": "a.example"}, outcome=failure)

    answer = await request.start_job("greet", host=request.values["host"])
    outcome = await request.run_job("greet", join=True, host="b.example")

    assert isinstance(answer, JsonResponse)
    assert (answer.status, answer.headers["Location"]) == (202, "/api/v1/admin/greet")
    assert outcome is failure
    assert request.started == [("greet", {"host": "a.example"}), ("greet", {"host": "b.example"})]


async def test_a_request_cancels_what_runs_and_nothing_in_a_dry_run(jidoteki_appliance: MakeAppliance) -> None:
    appliance = jidoteki_appliance()
    idle, busy = FakeRequest(appliance), FakeRequest(appliance, running=True)
    dry = FakeRequest(appliance, running=True, dry_run=True)

    assert [await each.cancel_job("greet") for each in (idle, busy, dry)] == [False, True, True]
    assert [each.cancelled for each in (idle, busy, dry)] == [[], ["greet"], []]


async def test_a_request_shows_the_runs_that_it_was_given(jidoteki_appliance: MakeAppliance) -> None:
    record = JobRecord("1", "greet", "success", 100, 1.0, 2.0, "127.0.0.1", "admin")
    request = FakeRequest(
        jidoteki_appliance(), records=[record], logs={"1": "a\nb\n"}, status={"status": "success"}, resumed=True
    )

    assert await request.job_status("greet") == {"status": "success"}
    assert await request.job_records() == [record]
    assert (await request.job_record("1"), await request.job_record("2")) == (record, None)
    assert (await request.job_log("1", 1), await request.job_log("2", 1)) == ("b\n", None)
    assert await request.resumes(Path("file"), "file")


def test_the_settings_are_those_of_the_host(jidoteki_appliance: MakeAppliance) -> None:
    appliance = jidoteki_appliance()

    assert FakeJob(appliance).host_config == FakeRequest(appliance).host_config
    assert FakeJob(appliance).host_config["limits"]["command"] > 0

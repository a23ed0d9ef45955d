"""The job engine: a job is a process that holds a lock, and has a record."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from namespaces import mounted, needs_mounts
from pace import slowness
from places import SAMPLES

from jidoteki.core.jobs.logs import MAX_LINES, MAX_RUN_LOG, Log
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

WORKER = SAMPLES / "worker.py"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(load=(WORKER,), enable=("worker",))


def record(host: Host, id: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((host.appliance.jobs / f"{id}.json").read_text())
    return content


def pid_of(host: Host, id: str) -> int:
    return int(wait_until(lambda: record(host, id)["pid"]))


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def lock_is_free(host: Host) -> bool:
    done = subprocess.run(["flock", "-n", str(host.appliance.jobs / "worker.lock"), "true"], check=False)
    return done.returncode == 0


def test_a_job_is_accepted_runs_and_leaves_a_record(host: Host) -> None:
    answer = host.post("/worker", "-F", "do=nothing")

    assert answer.status == 202
    assert answer.json == {"Status": "202 Accepted", "Location": "/api/v1/admin/worker"}
    assert answer.headers["Location"] == "/api/v1/admin/worker"
    assert answer.headers["Job-Id"] == "000001-worker"
    status = host.wait_for_job("/worker")
    assert status["status"] == "success"
    assert status["percentage"] == 100
    assert status["log"].endswith("[SYSTEM] Working")
    kept = record(host, "000001-worker")
    assert (kept["kind"], kept["client"], kept["user"]) == ("worker", "127.0.0.1", "admin")
    assert kept["started"] <= kept["ended"] <= time.time()
    assert json.loads((host.appliance.etc / "worker.json").read_text()) == {"status": "success", "percentage": 100}
    assert (host.appliance.etc / "worker.txt").read_text() == "success\n"
    assert [line[4:] for line in host.audit()] == [
        ["request.begun", "POST /api/v1/admin/worker"],
        ["request.done", "POST /api/v1/admin/worker 202 000001-worker"],
    ]


def test_nothing_ran_yet(host: Host) -> None:
    assert host.get("/worker").body == b'{"status":null,"log":null}'


@pytest.mark.parametrize(
    ("do", "message", "code"),
    [
        ("refuse", "refused by the check", "W1"),
        ("fail", "it went wrong", "W2"),
        ("crash", "An internal error ended the job; its log has the details", "E1000"),
        ("exit", "An internal error ended the job; its log has the details", "E1000"),
        ("leave", "The job ended unexpectedly: its process ended with exit status 3", "E1000"),
        ("vanish", "The job ended unexpectedly: its process ended with exit status 0", "E1000"),
        ("segfault", "The job ended unexpectedly: its process was ended by SIGSEGV", "E1000"),
        ("abort", "The job ended unexpectedly: its process was ended by SIGABRT", "E1000"),
        ("realtime", "The job ended unexpectedly: its process was ended by signal 40", "E1000"),
        ("die", "The job ended unexpectedly: it was killed, or the power failed", "E1000"),
    ],
)
def test_a_failure_says_why(host: Host, do: str, message: str, code: str) -> None:
    host.post("/worker", "-F", f"do={do}")

    status = host.wait_for_job("/worker")

    assert (status["status"], status["error-message"], status["error-code"]) == ("failed", message, code)
    wait_until(lambda: json.loads((host.appliance.etc / "worker.json").read_text())["status"] == "failed")
    wait_until((host.appliance.etc / "worker_code.txt").exists)
    assert (host.appliance.etc / "worker_code.txt").read_text() == f"{code}\n"
    wait_until(lambda: not list(host.appliance.tmp.iterdir()))
    assert "planted" not in json.dumps(status)
    run = (host.appliance.jobs / "000001-worker.log").read_text()
    assert ("planted" in run) == (do == "crash")
    assert ('worker.py", line' in run) == (do in ("crash", "exit", "segfault", "abort"))
    assert run.endswith(f"{message}\n") and record(host, "000001-worker")["error_message"] == message
    service = host.appliance.log / "jidoteki-admin-api.log"
    wait_until(lambda: f"job.end: 000001-worker failed {code}: {message}" in service.read_text())


def test_a_check_whose_process_crashed_says_so(host: Host) -> None:
    answer = host.post("/worker", "-F", "do=leave", query="dry-run=1")

    message = "The check ended unexpectedly: its process ended with exit status 3"
    assert (answer.status, answer.json["Error-Message"]) == (400, message)
    wait_until(lambda: message in host.errors())


def test_a_second_one_is_refused_and_leaves_the_first_alone(host: Host) -> None:
    host.post("/worker", "-F", "do=sleep")
    wait_until(lambda: host.get("/worker").json["percentage"] == 42)

    second = host.post("/worker", "-F", "do=nothing")
    other = host.post("/worker/other")

    assert (second.status, second.json["Error-Message"]) == (400, "Worker is already running")
    assert second.json["error-code"] == "BUSY"
    assert other.json["Error-Message"] == "Other cannot start while worker is running"
    assert host.get("/worker").json["status"] == "running"
    assert len(list(host.appliance.jobs.glob("*-worker.json"))) == 1


def test_of_many_at_once_exactly_one_starts(host: Host) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: host.post("/worker", "-F", "do=sleep"), range(16)))

    assert sorted(answer.status for answer in answers) == [202] + [400] * 15


def test_the_job_holds_the_lock_for_as_long_as_it_lives(host: Host) -> None:
    assert lock_is_free(host)

    id = host.post("/worker", "-F", "do=sleep").headers["Job-Id"]
    held = not lock_is_free(host)
    os.kill(pid_of(host, id), signal.SIGKILL)

    assert held
    wait_until(lambda: lock_is_free(host))
    wait_until(lambda: host.get("/worker").json["status"] == "failed")  # once it is recovered from, a moment later


@pytest.mark.parametrize("why", ["something lies in its place", "it may grow no more"])
def test_a_log_that_cannot_be_written_keeps_neither_the_other_log_nor_the_job_from_being_made(
    host: Host, why: str
) -> None:
    log = host.appliance.log / "worker.log"
    if why == "it may grow no more":
        log.write_bytes(b"x" * 100_000)
        assert host.process
        resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # jobs inherit it
    else:
        log.symlink_to("/dev/full")

    id = host.post("/worker", "-F", "do=nothing").headers["Job-Id"]

    assert host.wait_for_job("/worker")["status"] == "success"
    assert "Working" in (host.appliance.jobs / f"{id}.log").read_text()
    assert not log.is_file() or log.stat().st_size == 100_000


@pytest.mark.parametrize("do", ["sleep", "hang"])
def test_cancelling_takes_less_than_a_second_even_for_a_job_that_ignores_it(host: Host, do: str) -> None:
    id = host.post("/worker", "-F", f"do={do}").headers["Job-Id"]
    pid = pid_of(host, id)
    wait_until(lambda: (host.appliance.jobs / f"{id}.log").read_text())
    before = time.monotonic()

    answer = host.curl("DELETE", "/worker")

    assert time.monotonic() - before < 1.0 * slowness()
    assert answer.json == {"cancelled": True}
    assert record(host, id)["status"] == "cancelled"
    assert not is_running(pid)
    assert host.curl("DELETE", "/worker").json == {"cancelled": False}


def test_cancelling_ends_the_commands_of_the_job_too(host: Host) -> None:
    pid_file = host.appliance.root / "child.pid"
    host.post("/worker", "-F", "do=child", "-F", f"file={pid_file}")
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text()))

    host.curl("DELETE", "/worker")

    wait_until(lambda: not is_running(pid))


def test_a_killed_job_takes_its_commands_with_it(host: Host) -> None:
    pid_file = host.appliance.root / "child.pid"
    id = host.post("/worker", "-F", "do=child", "-F", f"file={pid_file}").headers["Job-Id"]
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text()))

    os.kill(pid_of(host, id), signal.SIGKILL)

    wait_until(lambda: not is_running(pid))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_survives_the_host_and_is_found_again(host: Host, end: signal.Signals) -> None:
    id = host.post("/worker", "-F", "do=sleep").headers["Job-Id"]
    pid = pid_of(host, id)

    host.stop(end)
    alive = is_running(pid)
    host.start()

    assert alive
    assert host.get("/worker").json["status"] == "running"
    assert host.post("/worker", "-F", "do=nothing").status == 400
    assert host.curl("DELETE", "/worker").json == {"cancelled": True}
    assert record(host, id)["status"] == "cancelled"
    assert host.post("/worker", "-F", "do=nothing").status == 202
    assert host.wait_for_job("/worker")["status"] == "success"


def test_a_clock_that_was_set_forward_ends_no_job(host: Host) -> None:
    id = host.post("/worker", "-F", "do=sleep").headers["Job-Id"]
    wait_until(lambda: record(host, id)["percentage"] == 42)
    host.stop(signal.SIGKILL)
    path = host.appliance.jobs / f"{id}.json"
    path.write_text(json.dumps({**record(host, id), "started": 1.0}))  # as if the clock had shown 1970 then
    host.start()
    time.sleep(3)

    assert host.get("/worker").json["status"] == "running"


def test_a_job_that_dies_while_the_host_is_down_is_failed_afterwards(host: Host) -> None:
    pid_file = host.appliance.root / "child.pid"
    id = host.post("/worker", "-F", "do=child", "-F", f"file={pid_file}").headers["Job-Id"]
    child = int(wait_until(lambda: pid_file.exists() and pid_file.read_text()))
    pid = pid_of(host, id)

    host.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
    host.start()

    status = host.get("/worker").json
    assert (status["status"], status["error-code"]) == ("failed", "E1000")
    assert json.loads((host.appliance.etc / "worker.json").read_text())["status"] == "failed"
    assert list(host.appliance.tmp.iterdir()) == []
    wait_until(lambda: not is_running(child))


def test_status_files_of_earlier_software_are_shown_until_a_job_ran(host: Host) -> None:
    (host.appliance.etc / "worker.json").write_text('{"status":"success","percentage":100}')

    assert host.get("/worker").json == {"status": "success", "percentage": 100, "log": None}


def test_a_running_of_another_tool_is_shown(host: Host) -> None:
    (host.appliance.etc / "worker.json").write_text('{"status":"running","percentage":30}')

    status = host.get("/worker").json

    assert (status["status"], status["percentage"]) == ("running", 30)


def test_a_dry_run_judges_like_the_job_and_starts_none(host: Host) -> None:
    good = host.post("/worker", "-F", "do=nothing", query="dry-run=1")
    bad = host.post("/worker", "-F", "do=refuse", query="dry-run=1")

    assert good.json == {"Status": "202 Accepted", "Location": "/api/v1/admin/worker", "dry-run": True}
    assert "Job-Id" not in good.headers
    assert (bad.status, bad.json["Error-Message"], bad.json["error-code"]) == (400, "refused by the check", "W1")
    assert list(host.appliance.jobs.glob("*-worker.json")) == []
    assert list(host.appliance.tmp.iterdir()) == []
    assert host.get("/worker").body == b'{"status":null,"log":null}'
    assert host.audit() == []


def test_a_request_can_wait_for_a_job_and_join_one(host: Host) -> None:
    waited = host.post("/worker/wait", "-F", "do=fail")
    with ThreadPoolExecutor(3) as pool:
        joined = [pool.submit(host.post, "/worker/wait", "-F", "do=sleep") for _ in range(3)]
        wait_until(lambda: host.get("/worker").json["percentage"] == 42)
        host.curl("DELETE", "/worker")

    assert waited.json == {"status": "failed", "id": "000001-worker", "message": "it went wrong"}
    assert [each.result().json["id"] for each in joined] == ["000002-worker"] * 3


def test_a_job_that_takes_too_long_is_ended(host: Host) -> None:
    answer = host.post("/worker/short", "-F", "do=sleep")

    assert answer.json == {"status": "failed", "message": "The job took too long"}


def test_a_command_runs_without_a_terminal_in_a_small_environment_and_is_logged(host: Host) -> None:
    host.post("/worker", "-F", "do=command")

    status = host.wait_for_job("/worker")

    assert status["error-message"] == "status 7"
    log = (host.appliance.log / "worker.log").read_text().splitlines()
    assert log[1:3] == ["out", "err"]
    names = {line.split("=")[0] for line in log[4:] if "=" in line}
    assert names <= {
        "PATH",
        "LANG",
        "HOME",
        "JIDO_ADMIN_PATH",
        "JIDO_ROOT",
        "JIDO_ETC",
        "JIDO_KEYS",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    }


def niceness(level: int) -> tuple[str, ...]:
    """Return a command that runs another one with a nice value, whatever that of the tests is."""
    return ("nice", "-n", str(level - os.getpriority(os.PRIO_PROCESS, 0)))


def may_go_first() -> bool:
    told = subprocess.run([*niceness(-1), "nice"], capture_output=True, text=True, check=True).stdout
    return int(told) == -1


def assert_priorities(host: Host, job: int, program: int) -> None:
    """Assert the nice values of a job and of a program it starts, twice; of their session too, if supported."""
    host.post("/worker", "-F", "do=priority")
    assert host.wait_for_job("/worker")["status"] == "success"

    told = re.findall(r"(own|program) ([0-9]+) ?([0-9]*)$", (host.appliance.log / "worker.log").read_text(), re.M)
    assert [(whose, own) for whose, own, _ in told] == [("own", str(job)), ("program", str(program))] * 2
    if Path("/proc/self/autogroup").exists():
        assert [session for _, _, session in told] == [str(job), str(program)] * 2


def test_a_job_lets_everything_else_go_first_but_its_programs_do_not(host: Host) -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)

    assert_priorities(host, max(10, usual), usual)


@pytest.mark.skipif(not may_go_first(), reason="this user cannot go first")
def test_the_service_goes_first_where_it_was_started_so_and_leaves_its_programs_behind(host: Host) -> None:
    host.stop()
    host.start(prefix=niceness(-5))
    assert host.process

    assert os.getpriority(os.PRIO_PROCESS, host.process.pid) == -5
    session = Path(f"/proc/{host.process.pid}/autogroup")
    if session.exists():
        assert session.read_text().split()[-1] == "-5"
    assert_priorities(host, 10, 0)


@pytest.mark.skipif(not may_go_first() or not shutil.which("setpriv"), reason="root gives capabilities up")
@pytest.mark.parametrize("started", [0, -5])
def test_a_job_needs_no_privilege_to_step_back_and_leave_its_programs_the_usual_priority(
    host: Host, started: int
) -> None:
    none = ("setpriv", "--bounding-set", "-sys_nice,-sys_admin", "--inh-caps", "-sys_nice,-sys_admin")
    host.stop()
    host.start(prefix=(*niceness(started), *none))

    assert_priorities(host, 10, 0)


def test_a_command_that_takes_too_long_is_killed_with_its_children(host: Host) -> None:
    pid_file = host.appliance.root / "child.pid"
    host.post("/worker", "-F", "do=slow command", "-F", f"file={pid_file}")
    child = int(wait_until(lambda: pid_file.exists() and pid_file.read_text()))

    status = host.wait_for_job("/worker")

    assert status["error-message"] == "sh did not end within 1 seconds"
    wait_until(lambda: not is_running(child))


def test_the_log_of_a_noisy_command_is_cut(host: Host) -> None:
    host.post("/worker", "-F", "do=noise")

    assert host.wait_for_job("/worker")["status"] == "success"
    log = host.appliance.log / "worker.log"
    assert log.stat().st_size < 9 * 1024 * 1024
    beginning, _, end = log.read_text().partition("\n[output cut here]\n")
    assert len(beginning) > 8_000_000 and len(end) < 5000
    assert end.endswith("x\nx\nthe end\n")


def test_programs_leave_room_for_the_lines_of_their_job(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", tmp_path / "run.log", "SYSTEM")

    for _ in range(3):
        log.write(b"x" * 8 * 1024 * 1024)
    for _ in range(300):
        log.line("y" * 5000)
    log.line("said too late")
    log.close()

    for path in (tmp_path / "log", tmp_path / "run.log"):
        content = path.read_bytes()
        assert len(content) == MAX_RUN_LOG + MAX_LINES
        assert content[MAX_RUN_LOG:].startswith(b"\n[") and b"SYSTEM] yyyy" in content[MAX_RUN_LOG:]


def test_no_message_forges_a_log_line(host: Host) -> None:
    host.post("/worker", "-F", "do=lines")

    host.wait_for_job("/worker")

    lines = (host.appliance.log / "worker.log").read_text().splitlines()
    assert len(lines) == 2
    assert "\x1b" not in lines[1]


def test_commands_of_a_job_do_not_inherit_its_lock(host: Host) -> None:
    host.post("/worker", "-F", "do=stdin")

    assert host.wait_for_job("/worker")["error-message"].startswith("/dev/null ")


def test_the_last_hundred_runs_are_kept_and_the_last_of_each_type(host: Host) -> None:
    from jidoteki.core.jobs.records import Records

    records = Records(host.appliance.jobs)
    for _ in range(3):
        made = records.new("first", "", "")
        records.log(made.id).touch()
    for _ in range(150):
        records.log(records.new("second", "", "").id).touch()

    ids = records.ids()

    assert len(ids) == 101
    assert records.ids("first") == ["000003-first"]
    assert ids[-1] == "000153-second"
    assert {path.stem for path in host.appliance.jobs.glob("*.log")} == set(ids)


def test_the_next_one_can_be_started_as_soon_as_the_last_is_seen_to_have_ended(host: Host) -> None:
    record_file = host.appliance.jobs / "000001-worker.json"
    host.post("/worker", "-F", "do=nothing")
    while json.loads(record_file.read_text())["status"] == "running":
        pass

    assert host.post("/worker", "-F", "do=nothing").status == 202


@needs_mounts
def test_what_a_job_left_mounted_is_not_deleted_with_its_work_space(tmp_path: Path) -> None:
    kept, space = tmp_path / "boot", tmp_path / "tmp/000001-update" / "work" / "mnt"
    for each in (kept, space):
        each.mkdir(parents=True)
    (kept / "vmlinuz").touch()
    code = (
        "import sys; from pathlib import Path; from jidoteki.core.appliance import Appliance; "
        "from jidoteki.core.jobs.launch import Launcher; "
        "fake = type('Fake', (), {'appliance': type('A', (), {'tmp': Path(sys.argv[1])})}); "
        "Launcher.clear(fake, '000001-update')"
    )
    mounting = mounted(f"mount --bind {shlex.quote(str(kept))} {shlex.quote(str(space))}")

    done = subprocess.run(
        [*mounting, sys.executable, "-c", code, tmp_path / "tmp"], capture_output=True, text=True, check=True
    )

    assert "Something is mounted at" in done.stderr
    assert (kept / "vmlinuz").exists()


BYTES = """
from pathlib import Path
from jidoteki.hookspecs import Endpoint, JobError, JobType, hookimpl

async def start(request):
    return await request.start_job("blob", blob=bytes(range(256)) * 65536)

def run(job):
    content = Path(job.input["blob"]).read_bytes()
    raise JobError(f"{len(content)} {content[:3].hex()} {content[-1]}")

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("blob", run)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/blob", start, responses={202: "It"}, summary="Start", starts="blob")]
"""


def test_bytes_are_handed_to_a_job_as_a_file_which_goes_with_the_run(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    (tmp_path / "blob.py").write_text(BYTES)
    host = jidoteki_host(load=(tmp_path / "blob.py",), enable=("blob",))

    id = host.post("/blob").headers["Job-Id"]
    wait_until(lambda: record(host, id)["status"] != "running")

    assert record(host, id)["error_message"] == "16777216 000102 255"
    wait_until(lambda: not (host.appliance.tmp / id).exists())

"""The status files in `ADMIN/etc`: written in the original's format, and read when another tool writes them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import SAMPLES

from jidoteki.core import files
from jidoteki.core.jobs import status_files
from jidoteki.core.jobs.records import Record
from jidoteki.hookspecs import JobType, StatusFiles
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND

WORKER = SAMPLES / "worker.py"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(load=(WORKER,), enable=("worker",))


def shown(host: Host, path: str = "/worker") -> dict[str, Any]:
    """Return the status without the log."""
    status: dict[str, Any] = host.request("GET", path).json
    del status["log"]
    return status


def work(host: Host, do: str = "nothing") -> dict[str, Any]:
    host.request("POST", "/worker", {"do": do})
    wait_until(lambda: shown(host)["status"] in ("success", "failed"))
    return shown(host)


def failed_update(host: Host) -> None:
    """Run an update of the service's own that fails at once, as there is no package."""
    argv = [*COMMAND, "update", "--root", str(host.appliance.root)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 1


def test_they_are_written_byte_for_byte_as_the_original_writes_them(host: Host) -> None:
    failed_update(host)
    etc = host.appliance.etc

    assert (etc / "status_update.json").read_bytes() == b'{"status":"failed","percentage":20}\n'
    assert (etc / "status_update.txt").read_bytes() == b"failed\n"
    assert (etc / "status_error_message.txt").read_bytes() == b"Missing update package\n"
    assert (etc / "status_error_code.txt").read_bytes() == b"E1003\n"


def test_they_are_there_while_the_job_runs(host: Host) -> None:
    work(host, "fail")

    host.request("POST", "/worker", {"do": "sleep"})
    wait_until(lambda: shown(host)["percentage"] == 42)

    etc = host.appliance.etc
    assert (etc / "worker.json").read_bytes() == b'{"status":"running","percentage":42}\n'
    assert (etc / "worker.txt").read_bytes() == b"running\n"
    assert not (etc / "worker_message.txt").exists() and not (etc / "worker_code.txt").exists()


REBOOTING = {"status": "rebooting", "percentage": 95, "eta": 3}
STEPS = {"status": "running", "percentage": 50, "steps": {"done": ["a"]}}
BUSY = {"status": "failed", "percentage": 80}
SAID = {"error-message": "The database is busy", "error-code": "E2042"}
#: What another tool writes, and the expected status.
WRITTEN: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"worker.json": json.dumps(REBOOTING)}, REBOOTING),
    ({"worker.json": f"{json.dumps(STEPS, separators=(',', ':'))}\n"}, STEPS),
    ({"worker.json": '{"status":"success","percentage":"all"}'}, {"status": "success", "percentage": "all"}),
    ({"worker.json": '{"status":null}'}, {"status": None}),
    (
        {
            "worker.json": json.dumps(BUSY),
            "worker_message.txt": "The database is busy\nmore\n",
            "worker_code.txt": "E2042\n",
        },
        {**BUSY, **SAID},
    ),
]


@pytest.mark.parametrize("do", ["nothing", "fail"])
def test_what_another_tool_writes_afterwards_is_shown_whatever_its_clock_says(host: Host, do: str) -> None:
    for written, expected in WRITTEN:
        work(host, do)
        for clock in (None, 1, 4e9):
            for name, content in written.items():
                (host.appliance.etc / name).write_text(content)
                if clock is not None:
                    os.utime(host.appliance.etc / name, (clock, clock))

            assert shown(host) == expected


def test_a_status_as_text_alone_counts_too_and_so_do_errors_alone(host: Host) -> None:
    work(host)

    (host.appliance.etc / "worker.txt").write_text("rebooting\n")
    by_text = shown(host)
    (host.appliance.etc / "worker_message.txt").write_text("The disk is worn\n")
    with_error = shown(host)

    assert by_text == {"status": "rebooting", "percentage": 100}
    assert with_error == {"status": "rebooting", "percentage": 100, "error-message": "The disk is worn"}


def test_the_next_run_of_the_service_is_shown_again(host: Host) -> None:
    work(host)
    etc = host.appliance.etc
    (etc / "worker.json").write_text('{"status":"failed","percentage":10,"by":"another"}')
    (etc / "worker.txt").write_text("failed\n")
    (etc / "worker_message.txt").write_text("another\n")
    (etc / "worker_code.txt").write_text("E9\n")
    before = shown(host)

    host.request("POST", "/worker", {"do": "nothing"})
    wait_until(lambda: shown(host)["status"] == "success")

    assert before["by"] == "another"
    assert shown(host) == {"status": "success", "percentage": 100}
    assert json.loads((etc / "worker.json").read_text()) == shown(host)


SENSELESS = (
    "", "\n", "{", "[]", "7", '"running"', '{"percentage":5}', '{"status":3}', '{"status":""}', "\0\1",
    '{"status":"a","x":NaN}', f'{{"status":"a","x":{"[" * 200}{"]" * 200}}}', f'{{"status":"a","x":"{"x" * 70_000}"}}',
)  # fmt: skip


def test_what_makes_no_sense_there_is_passed_over(host: Host) -> None:
    before = work(host, "fail")
    assert before == {"status": "failed", "percentage": 10, "error-message": "it went wrong", "error-code": "W2"}

    for content in SENSELESS:
        (host.appliance.etc / "worker.json").write_text(content)

        assert shown(host) == before, content[:40]


def test_what_is_no_file_is_passed_over_and_not_waited_for(host: Host, tmp_path: Path) -> None:
    before = work(host)
    (tmp_path / "secret").write_text('{"status":"secret"}\n')
    for name in ("worker.json", "worker.txt", "worker_message.txt"):
        path = host.appliance.etc / name
        for put in (lambda path: path.symlink_to(tmp_path / "secret"), os.mkfifo, Path.mkdir, lambda path: None):
            path.unlink(missing_ok=True)
            put(path)

            assert shown(host) == before

            if path.is_dir():
                path.rmdir()


@pytest.mark.parametrize("text", ["running", "success", "failed", "revoked"])
def test_another_tools_status_of_certificates_is_shown(host: Host, text: str) -> None:
    host.post("/certs", "-F", "public=x", "-F", "private=y")
    host.wait_for_job("/certs")

    (host.appliance.etc / "status_certs.txt").write_text(f"{text}\n")

    assert shown(host, "/certs")["status"] == text


def test_lines_that_another_tool_adds_to_the_log_are_shown(host: Host) -> None:
    work(host)
    with (host.appliance.log / "worker.log").open("a") as log:
        log.write("[1][SYSTEM] from another tool\n")

    assert host.get("/worker").json["log"].endswith("\n[1][SYSTEM] from another tool")


MakeUpdate = Callable[[str], None]


@pytest.fixture
def update(host: Host, tmp_path: Path) -> MakeUpdate:
    """Return a function that starts an update with this script."""
    vendor, source = host.appliance.root / "vendor", tmp_path / "source"
    source.mkdir()

    def start(script: str) -> None:
        (source / "update.sh").write_text(script)
        keys = ["--key", vendor / "updates.key", "--sign-key", vendor / "private.pem"]
        package = tmp_path / "package.enc"
        argv = [*COMMAND, "package", "build", source, "--version", "1.1.0", *keys, "-o", package]
        subprocess.run([str(each) for each in argv], check=True, capture_output=True)
        assert host.post("/update", "-F", f"update=@{package}").status == 202

    return start


def test_what_update_sh_writes_meanwhile_is_shown_and_the_service_has_the_last_word(
    host: Host, update: MakeUpdate
) -> None:
    go = host.appliance.root / "go"
    update(f"""
        cd "$JIDO_ADMIN_PATH/etc"
        echo '{{"status":"running","percentage":75,"step":"database"}}' > status_update.json
        until [ -e '{go}' ]; do sleep 0.05; done
        echo '{{"status":"rebooting","percentage":99}}' > status_update.json
    """)

    wait_until(lambda: shown(host, "/update").get("step"))
    meanwhile = shown(host, "/update")
    go.touch()

    assert meanwhile == {"status": "running", "percentage": 75, "step": "database"}
    wait_until(lambda: shown(host, "/update")["status"] == "success")
    assert (host.appliance.etc / "status_update.json").read_bytes() == b'{"status":"success","percentage":100}\n'
    assert (host.appliance.etc / "status_update.txt").read_bytes() == b"success\n"


@pytest.mark.parametrize("end", ["success", "failed", "cancelled"])
def test_no_script_can_say_that_a_run_has_ended_that_goes_on(host: Host, update: MakeUpdate, end: str) -> None:
    go, said = host.appliance.root / "go", host.appliance.root / "said"
    update(f"""
        echo '{{"status":"{end}","percentage":100}}' > $JIDO_ADMIN_PATH/etc/status_update.json
        echo {end} > $JIDO_ADMIN_PATH/etc/status_update.txt
        touch '{said}'; until [ -e '{go}' ]; do sleep 0.05; done
    """)

    wait_until(said.exists)
    meanwhile = shown(host, "/update")
    go.touch()

    assert meanwhile == {"status": "running", "percentage": 70}
    assert host.wait_for_job("/update")["status"] == "success"


def test_a_warning_that_a_successful_update_sh_leaves_is_shown_until_the_next_update(
    host: Host, update: MakeUpdate
) -> None:
    update("echo 'Check the license' > $JIDO_ADMIN_PATH/etc/status_error_message.txt")
    first = host.wait_for_job("/update")

    failed_update(host)

    assert (first["status"], first["error-message"]) == ("success", "Check the license")
    assert shown(host, "/update")["error-message"] == "Missing update package"


FILES = StatusFiles("worker.json", "worker.txt", "message.txt", "code.txt")


@pytest.mark.parametrize("record", [Record("000001-worker", "worker", "success", 100), None])
def test_running_that_nobody_can_still_mean_is_failed(tmp_path: Path, record: Record | None) -> None:
    """A run started longer ago than such a job may take has failed."""
    job = JobType("worker", lambda job: None, status_files=FILES, timeout=0.2)
    (tmp_path / "worker.json").write_text('{"status":"running","percentage":50}')

    fresh = status_files.shown(tmp_path, job, record, lambda: False)
    time.sleep(0.3)
    stale = status_files.shown(tmp_path, job, record, lambda: False)

    assert fresh == {"status": "running", "percentage": 50}
    assert (stale["status"], stale["percentage"], stale["error-code"]) == ("failed", 50, "E1000")


def test_a_file_that_cannot_be_written_does_not_stay_to_be_taken_for_another_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.json").write_text('{"status":"success","percentage":100}\n')
    job = JobType("worker", lambda job: None, status_files=FILES)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "replace_file", full)
    record = Record("000001-worker", "worker", "failed", 10, error_message="full", error_code="E1000")
    status_files.write(tmp_path, job, record)

    assert list(tmp_path.iterdir()) == []
    assert status_files.shown(tmp_path, job, record, lambda: False) == {
        "status": "failed", "percentage": 10, "error-message": "full", "error-code": "E1000"
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a file immutable")
def test_a_file_that_can_be_neither_written_nor_removed_says_nothing_of_the_run(host: Host) -> None:
    path = host.appliance.etc / "worker.json"
    path.write_text('{"status":"stuck","percentage":1}\n')
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        host.request("POST", "/worker", {"do": "nothing"})
        wait_until(lambda: shown(host) == {"status": "success", "percentage": 100})
    finally:
        subprocess.run(["chattr", "-i", path], check=True)

    assert shown(host) == {"status": "success", "percentage": 100}
    path.write_text('{"status":"free","percentage":1}\n')
    work(host)
    assert shown(host)["status"] == "success"

"""Jobs that the command line starts: with a service beside it, that comes or goes meanwhile, or without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eventkit import following

from jidoteki.core.endpoints.update.build import build_package
from jidoteki.core.jobs.records import Records
from jidoteki.testing import Host, MakeHost, wait_until
from jidoteki.testing.host import COMMAND

#: In which nothing more is told.
QUIET = 2.5

PLUGIN = """
from jidoteki.hookspecs import hookimpl

@hookimpl
def jidoteki_event(event):
    if event.kind == "job":
        with open(TOLD, "a") as file:
            file.write(f"{event.id} {event.action} {event.outcome} {event.client}\\n")
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where a plugin writes what it is told of jobs."""
    return tmp_path / "told"


@pytest.fixture
def host(jidoteki_host: MakeHost, told: Path, tmp_path: Path) -> Host:
    plugin = tmp_path / "tells.py"
    plugin.write_text(f"TOLD = {str(told)!r}\n{PLUGIN}")
    return jidoteki_host(load=(plugin,), enable=("events", "metrics"))


@pytest.fixture
def go_on(tmp_path: Path) -> Path:
    """What the script of a package waits for."""
    return tmp_path / "go-on"


@pytest.fixture
def package(host: Host, go_on: Path, tmp_path: Path) -> Path:
    """One that was dropped into the uploads directory."""
    source, vendor = tmp_path / "source", host.appliance.root / "vendor"
    source.mkdir()
    (source / "update.sh").write_text(f"#!/bin/sh\necho begun\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\n")
    path = host.appliance.uploads / "software_package-2.0.0.enc"
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", path)
    return path


class Update:
    """`jidoteki update`."""

    def __init__(self, host: Host, *arguments: str) -> None:
        argv = [*COMMAND, "update", "--root", str(host.appliance.root), *arguments]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._records = Records(host.appliance.jobs)
        assert self._process.stdout
        self.id = self._process.stdout.readline().split()[-1]

    def wait_for_script(self) -> None:
        log = self._records.log(self.id)
        wait_until(lambda: log.exists() and "begun" in log.read_text())

    def pid(self) -> int:
        """That of the job."""

        def pid() -> int:
            record = self._records.read(self.id)
            return record.pid if record else 0

        return int(wait_until(pid, interval=0.001))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> tuple[int, str, str]:
        """Its exit status, and what it printed."""
        out, errors = self._process.communicate(timeout=60)
        return self._process.returncode, out, errors


@pytest.fixture
def update(host: Host) -> Iterator[Any]:
    started: list[Update] = []

    def start(*arguments: str) -> Update:
        started.append(Update(host, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def told_of(told: Path, id: str) -> list[str]:
    lines = told.read_text().splitlines() if told.exists() else []
    return [line.removeprefix(f"{id} ") for line in lines if line.startswith(id)]


def test_an_update_beside_the_service_is_followed_and_told_of_once(
    host: Host, package: Path, go_on: Path, update: Any, told: Path
) -> None:
    with following(host) as events:
        wait_until(lambda: events.head)
        command = update()
        started = time.monotonic()
        wait_until(lambda: told_of(told, command.id), interval=0.01)
        found_after = time.monotonic() - started
        command.wait_for_script()
        shown = host.get("/jobs").json["jobs"][0]
        go_on.touch()
        status, printed, errors = command.end()
        events.wait_for("job", lambda job: job["status"] == "success")
        wait_until(lambda: len(told_of(told, command.id)) == 2)
        time.sleep(QUIET)

        counted = [line for line in host.get("/metrics").text.splitlines() if line.startswith("jidoteki_jobs_total{")]
        metrics = [line for line in counted if not line.endswith(" 0.0")]
        of_events = [each.data for each in events.named("job") if each.data["id"] == command.id]

    assert (status, printed, errors) == (0, "The update was installed\n", "")
    assert found_after < 5
    assert (shown["id"], shown["status"], shown["client"]) == (command.id, "running", "local")
    assert told_of(told, command.id) == ["job.start running local", "job.end success local"]
    assert of_events[0]["status"] == "running"
    assert [each["status"] for each in of_events].count("success") == 1
    assert metrics == ['jidoteki_jobs_total{outcome="success",type="update"} 1.0']
    assert [line[4:] for line in host.audit()[-2:]] == [
        ["request.begun", "jidoteki update"], ["request.done", f"jidoteki update started {command.id}"],
    ]  # fmt: skip


def test_one_that_is_over_at_once_is_told_of_once(host: Host, update: Any, told: Path) -> None:
    command = update()
    status, _, errors = command.end()
    wait_until(lambda: len(told_of(told, command.id)) == 2)
    time.sleep(QUIET)

    assert (status, errors) == (1, "jidoteki: Missing update package (E1003)\n")
    assert told_of(told, command.id) == ["job.start running local", "job.end failed local"]
    assert list(host.appliance.tmp.iterdir()) == []


def test_the_service_cancels_it(host: Host, package: Path, update: Any, told: Path) -> None:
    command = update()
    os.kill(command.pid(), signal.SIGSTOP)  # before its script begins, and so that it does not end by itself

    answer = host.post(f"/jobs/{command.id}/cancel")

    assert (answer.status, answer.json.get("status")) == (200, "cancelled"), answer
    assert command.end() == (1, "", "jidoteki: The update was cancelled\n")
    wait_until(lambda: told_of(told, command.id)[-1:] == ["job.end cancelled local"])
    assert json.loads((host.appliance.etc / "status_update.json").read_text())["status"] == "cancelled"


@pytest.mark.parametrize("beside", [True, False])
def test_one_that_is_killed_is_failed_and_told_of_once(
    host: Host, package: Path, update: Any, told: Path, beside: bool
) -> None:
    command = update()
    command.wait_for_script()
    if not beside:
        command.kill()

    os.kill(command.pid(), signal.SIGKILL)

    wait_until(lambda: told_of(told, command.id)[-1:] == ["job.end failed local"])
    if beside:
        assert command.end()[2].startswith("jidoteki: The job ended unexpectedly: it was killed")
    time.sleep(QUIET)
    assert len(told_of(told, command.id)) == 2
    assert list(host.appliance.tmp.glob(command.id)) == []


def test_a_service_that_starts_in_the_middle_follows_it(
    host: Host, package: Path, go_on: Path, update: Any, told: Path
) -> None:
    host.stop()
    command = update()
    command.wait_for_script()
    host.start()
    shown = host.get(f"/jobs/{command.id}").json["status"]
    go_on.touch()

    assert shown == "running"
    assert command.end()[0] == 0
    wait_until(lambda: told_of(told, command.id) == ["job.start running local", "job.end success local"])
    time.sleep(QUIET)
    assert len(told_of(told, command.id)) == 2


@pytest.mark.parametrize("ends_meanwhile", [True, False])
def test_its_end_is_told_once_though_the_service_is_killed_in_the_middle(
    host: Host, package: Path, go_on: Path, update: Any, told: Path, ends_meanwhile: bool
) -> None:
    command = update()
    command.wait_for_script()
    wait_until(lambda: told_of(told, command.id))
    host.stop(signal.SIGKILL)
    if ends_meanwhile:
        go_on.touch()
        assert command.end()[0] == 0
    host.start()
    go_on.touch()
    wait_until(lambda: "job.end success local" in told_of(told, command.id))
    host.stop()
    host.start()
    time.sleep(QUIET)

    assert told_of(told, command.id) == [*["job.start running local"] * 2, "job.end success local"]


def test_without_a_service_it_works_and_is_told_of_by_the_next_one_alone(host: Host, update: Any, told: Path) -> None:
    host.stop()
    command = update()
    status = command.end()[0]
    for _ in range(3):
        host.start()
        wait_until(lambda: told_of(told, command.id))
        host.stop()

    assert status == 1
    assert told_of(told, command.id) == ["job.start running local", "job.end failed local"]


def test_one_of_the_service_that_ends_while_it_is_down_is_told_of_by_the_next(
    host: Host, package: Path, go_on: Path, told: Path
) -> None:
    id = host.post("/update", "-F", f"update=@{package}").headers["Job-Id"]
    wait_until(lambda: "begun" in host.get(f"/jobs/{id}/log").text)
    host.stop(signal.SIGKILL)
    go_on.touch()
    wait_until(lambda: json.loads((host.appliance.jobs / f"{id}.json").read_text())["status"] == "success")

    host.start()

    wait_until(lambda: "job.end success 127.0.0.1" in told_of(told, id))
    time.sleep(QUIET)
    assert told_of(told, id).count("job.end success 127.0.0.1") == 1

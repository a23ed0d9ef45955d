"""`jidoteki events`, `top` and `call --wait`, with an appliance that serves events and one that does not."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from eventkit import PREFIX, publishing

from jidoteki.testing import Host, MakeHost, wait_until
from jidoteki.testing.host import COMMAND

#: The dashboard brings events along.
NO_DASHBOARD = {"dashboard": {"enabled": False}}


@pytest.fixture
def publisher(jidoteki_host: MakeHost) -> Host:
    return publishing(jidoteki_host)


#: Seconds for what is not measured here: a client and a service that start beside other load.
PATIENCE = 60


class Running:
    """A running command, and the lines that it has printed so far."""

    def __init__(self, host: Host, *arguments: str, token: str | None = None) -> None:
        environment = {**os.environ, "JIDOTEKI_URL": host.url, "JIDOTEKI_TOKEN": token or str(host.token)}
        # A shell that started the tests in the background has them ignore Ctrl-C, and what they start as well.
        argv = ["env", "--default-signal=INT", *COMMAND, *arguments, "--cacert", str(host.certificate)]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines)]

    def end(self) -> tuple[int, str]:
        """Send Ctrl-C; return the exit status and standard error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(PATIENCE)
        self._reader.join(10)
        assert self.process.stderr
        return status, self.process.stderr.read()


@contextmanager
def running(host: Host, *arguments: str, token: str | None = None) -> Iterator[Running]:
    command = Running(host, *arguments, token=token)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait(20)


def numbers(command: Running) -> list[int]:
    return [each["data"]["number"] for each in command.documents() if each["event"] == "publisher.tick"]


def test_events_are_printed_as_json_over_a_restart(publisher: Host) -> None:
    port = publisher.url.rsplit(":", 1)[1]
    with running(publisher, "events", "--json") as command:
        wait_until(lambda: len(command.lines) >= 2, PATIENCE)
        publisher.get("/publisher", query="count=5")
        publisher.stop()
        publisher.start("--port", port)
        publisher.get("/publisher", query="first=6&count=5")
        wait_until(lambda: 10 in numbers(command), PATIENCE)
        status, errors = command.end()

    told = command.documents()
    assert [each["event"] for each in told[:2]] == ["hello", "state"]
    assert numbers(command) == list(range(1, 11))
    assert (status, errors) == (0, "")
    with running(publisher, "events", "--json", "--after", told[-1]["id"]) as command:
        wait_until(lambda: command.lines, PATIENCE)
        publisher.get("/publisher", query="first=11")
        wait_until(lambda: numbers(command), PATIENCE)
    # What else happens on the appliance meanwhile, such as its health, is told as well.
    assert command.documents()[0]["event"] == "hello"
    assert "state" not in [each["event"] for each in command.documents()]
    assert numbers(command) == [11]


def test_events_are_lines_for_people(publisher: Host) -> None:
    with running(publisher, "events") as command:
        wait_until(lambda: command.lines)
        id = publisher.post("/publisher").headers["Job-Id"]
        wait_until(lambda: any(line.rstrip().endswith(f"job {id} success 100") for line in command.lines))

    assert any(f"log {id}: " in line and line.endswith("line 199\n") for line in command.lines)
    assert all(line[8:9] == " " for line in command.lines)


def test_an_appliance_without_events_is_told_of_in_a_sentence(jidoteki_host: MakeHost) -> None:
    with running(jidoteki_host(plugins=NO_DASHBOARD), "events") as command:
        command.process.wait(30)
        status, errors = command.end()

    assert status == 1
    assert errors.startswith("jidoteki: ") and "serves no events" in errors and errors.count("\n") == 1


@pytest.mark.parametrize("served", [True, False])
def test_top_shows_each_change_of_a_job(jidoteki_host: MakeHost, served: bool) -> None:
    host = publishing(jidoteki_host) if served else jidoteki_host(enable=("settings",), plugins=NO_DASHBOARD)
    with running(host, "top", "--json") as command:
        first = wait_until(command.documents)[0]
        form = () if served else ("-F", 'settings={"app": {"name": "a"}}')
        answer = host.post("/publisher" if served else "/settings", *form)
        id = answer.headers["Job-Id"]

        def ended() -> bool:
            jobs = command.documents()[-1]["jobs"]
            return bool(jobs) and (jobs[0]["id"], jobs[0]["status"]) == (id, "success")

        wait_until(ended, 30)
        status, errors = command.end()

    assert (status, errors) == (0, "")
    assert first["version"] == "1.0.0" and "disk" in first["health"] and first["services"] and first["jobs"] == []
    shown = {each["percentage"] for document in command.documents() for each in document["jobs"]}
    assert len(shown) >= (4 if served else 1)


def test_top_prints_one_table_where_there_is_no_terminal(publisher: Host) -> None:
    id = publisher.post("/publisher").headers["Job-Id"]
    with running(publisher, "top") as command:
        assert command.process.wait(30) == 0
        command.end()

    assert "version 1.0.0" in command.lines[0] and "disk" in command.lines[0]
    assert any(line.startswith(id) for line in command.lines)


@pytest.mark.parametrize("served", [True, False])
def test_a_job_is_followed_by_events_where_they_are_served_and_by_asking_elsewhere(
    jidoteki_host: MakeHost, served: bool
) -> None:
    host = publishing(jidoteki_host)
    if not served:
        host.configure(endpoints=["publisher", "tokens"], plugins=NO_DASHBOARD)
        host.reload()
    with running(host, "call", "POST", "/publisher", "--wait") as command:
        status = command.process.wait(60)
        command.end()
    host.stop()

    log = (host.appliance.log / "jidoteki-access.log").read_text()
    looks = log.count(f"GET {PREFIX}/jobs/")
    assert status == 0
    assert command.documents()[0]["status"] == "success"
    assert (f"GET {PREFIX}/events 200" in log) is served
    assert 1 <= looks <= 3 if served else looks >= 4


def test_top_ends_with_a_refusal_only_where_the_credential_may_see_nothing(publisher: Host) -> None:
    id = publisher.post("/publisher").headers["Job-Id"]
    some = publisher.post("/tokens", "-F", "name=some", "-F", "scopes=/jobs").json["token"]
    none = publisher.post("/tokens", "-F", "name=none", "-F", "scopes=/publisher").json["token"]

    with running(publisher, "top", token=some) as command:
        assert command.process.wait(30) == 0
        command.end()
    assert any(line.startswith(id) for line in command.lines)
    for token, said in ((none, "This token may not do that"), ("wrong", "Authentication error")):
        for arguments in ((), ("--json",)):
            with running(publisher, "top", *arguments, token=token) as command:
                assert command.process.wait(30) == 1
                assert command.end() == (1, f"jidoteki: {said}\n")
                assert command.lines == []


@pytest.mark.parametrize("served", [True, False])
def test_top_says_since_when_an_appliance_is_gone(jidoteki_host: MakeHost, served: bool) -> None:
    host = publishing(jidoteki_host) if served else jidoteki_host()
    with running(host, "top", "--json") as command:
        first = wait_until(command.documents)[0]
        before = int(time.time())
        host.stop()
        gone = wait_until(lambda: command.documents()[-1].get("unreachable-since"), 20)
        assert first["unreachable-since"] is None and before <= gone <= time.time()
        host.start("--port", host.url.rsplit(":", 1)[1])
        wait_until(lambda: command.documents()[-1]["unreachable-since"] is None, 30)
        assert command.end() == (0, "")


class Terminal:
    """A command on a terminal of some size."""

    def __init__(self, host: Host, columns: int, rows: int, *arguments: str) -> None:
        self._end, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "JIDOTEKI_URL": host.url, "JIDOTEKI_TOKEN": str(host.token)}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        argv = [*COMMAND, *arguments, "--cacert", str(host.certificate)]
        self.process = subprocess.Popen(argv, stdin=end, stdout=end, stderr=end, env=environment)
        os.close(end)
        self._shown = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):  # EIO once the command has ended
            while data := os.read(self._end, 65536):
                self._shown += data

    def screen(self) -> str:
        """What was written since the screen was cleared."""
        return re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", self._shown.decode().rpartition("\x1b[2J")[2])

    def end(self) -> None:
        self.process.kill()
        self.process.wait(20)
        os.close(self._end)


def test_top_keeps_to_the_size_of_the_terminal(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("events", "backup"), parameters=None)
    for _ in range(8):
        newest = host.post("/backup", "-F", "action=START").headers["Job-Id"]
        host.wait_for_job("/backup")
    terminal = Terminal(host, 40, 10, "top")
    try:
        wait_until(lambda: newest in terminal.screen())
        lines = terminal.screen().removesuffix("\r\n").split("\r\n")
        assert len(lines) <= 9 and max(map(len, lines)) <= 40, lines
        header = next(number for number, line in enumerate(lines) if line.startswith("JOB "))
        assert lines[header + 1].startswith(newest) and "success" in lines[header + 1] and len(lines) > header + 2
        host.stop()
        wait_until(lambda: re.search(r"unreachable since \d\d:\d\d:\d\d", terminal.screen()), 20)
    finally:
        terminal.end()


@pytest.mark.parametrize("served", [True, False])
def test_a_new_certificate_that_is_not_trusted_ends_the_wait_with_what_is_known(
    jidoteki_host: MakeHost, tmp_path: Path, served: bool
) -> None:
    host = jidoteki_host(enable=("certs", "events") if served else ("certs",), parameters=None, plugins=NO_DASHBOARD)
    key, certificate = tmp_path / "new.key", tmp_path / "new.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    form = ("-F", f"public=@{certificate}", "-F", f"private=@{key}")
    with running(host, "call", "POST", "/certs", *form, "--wait") as command:
        status = command.process.wait(40)
        _, errors = command.end()

    if served:
        assert (status, command.documents()[0]["status"]) == (0, "success")
    else:
        assert status == 1 and "is not trusted" in errors and "how the job ended is not known" in errors


def test_the_log_of_a_job_is_followed_over_a_restart(publisher: Host) -> None:
    port = publisher.url.rsplit(":", 1)[1]
    id = publisher.post("/publisher").headers["Job-Id"]
    with running(publisher, "jobs", "log", id, "--follow") as command:
        wait_until(lambda: len(command.lines) > 10)
        publisher.stop()
        time.sleep(1)
        publisher.start("--port", port)
        status = command.process.wait(60)
        assert (status, command.end()[1]) == (0, "")

    assert "".join(command.lines) == publisher.get(f"/jobs/{id}/log").text


def test_events_are_printed_with_their_own_time_and_objects_as_json(publisher: Host) -> None:
    with running(publisher, "events", "--json") as command:
        wait_until(lambda: command.lines)
        id = publisher.post("/publisher").headers["Job-Id"]
        publisher.get("/publisher", query="first=7")
        wait_until(lambda: any(each["data"].get("status") == "success" for each in command.documents()), 30)
        wait_until(lambda: any(each["event"] == "publisher.tick" for each in command.documents()))
    told = command.documents()
    time.sleep(2)
    with running(publisher, "events", "--after", next(each["id"] for each in told if each["id"])) as command:
        wait_until(lambda: any(line.rstrip().endswith(f"job {id} success 100") for line in command.lines))

    def clock(seconds: float) -> str:
        return time.strftime("%H:%M:%S", time.localtime(seconds))

    ended = next(each["data"] for each in told if each["data"].get("status") == "success")
    audited = [clock(each["data"]["time"]) for each in told if each["event"] == "audit"]
    assert [line[:8] for line in command.lines if line[8:].startswith(" audit ")][: len(audited)] == audited != []
    line = next(line for line in command.lines if line.rstrip().endswith(f"job {id} success 100"))
    assert line[:8] == clock(ended["finished"])
    ticks = [line.partition("publisher.tick ")[2] for line in command.lines if "publisher.tick " in line]
    assert [json.loads(each) for each in ticks] == [{"number": 7, "text": "x" * 10}]

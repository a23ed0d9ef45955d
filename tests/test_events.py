"""`GET /events`: what happens on the appliance, followed as browsers and curl do."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from jidoteki.testing import Host, MakeHost, wait_until

PREFIX = "/api/v1/admin"


@dataclass(frozen=True)
class Told:
    """One event as it came."""

    id: str
    name: str
    data: Any


class Curl:
    """`curl -N`, and what it has printed so far."""

    def __init__(self, host: Host, *arguments: str, token: str | None = None) -> None:
        query = host.query("GET", "/events") if token is None else f"?token={token}"
        url = f"{host.url}{PREFIX}/events{query}"
        argv = ["curl", "-sSN", "--cacert", str(host.certificate), "--max-time", "60", "-i", url, *arguments]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        while piece := os.read(self.process.stdout.fileno(), 65536):
            self.output += piece

    @property
    def head(self) -> str:
        return self.output.partition(b"\r\n\r\n")[0].decode()

    def events(self) -> list[Told]:
        """Those that are complete."""
        blocks = self.output.partition(b"\r\n\r\n")[2].decode().split("\n\n")[:-1]
        found = []
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "event" in fields:
                found.append(Told(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
        return found

    def named(self, name: str) -> list[Told]:
        return [each for each in self.events() if each.name == name]

    def wait_for(self, name: str, condition: Callable[[Any], bool] = lambda data: True, seconds: float = 20.0) -> Told:
        def found() -> Told | None:
            return next((each for each in self.named(name) if condition(each.data)), None)

        try:
            told: Told = wait_until(found, seconds)
        except AssertionError:
            raise AssertionError(f"There is no such {name} in {self.output.decode()}") from None
        return told

    def last_id(self) -> str:
        return [each.id for each in self.events() if each.id][-1]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)


@contextmanager
def following(host: Host, *arguments: str, token: str | None = None) -> Iterator[Curl]:
    curl = Curl(host, *arguments, token=token)
    try:
        yield curl
    finally:
        curl.end()


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("events", "settings"))


def change_settings(host: Host, name: str = "a") -> str:
    """The id of a job that was started."""
    answer = host.post("/settings", "-F", f"settings={json.dumps({'app': {'name': name}})}")
    assert answer.status == 202, answer
    return answer.headers["Job-Id"]


def test_it_begins_with_hello_and_the_state(host: Host) -> None:
    with following(host) as curl:
        hello, state = curl.wait_for("hello"), curl.wait_for("state")

    assert "200 OK" in curl.head and "text/event-stream" in curl.head and "no-store" in curl.head
    assert hello.data["version"] == host.get("/version").json["version"]
    assert hello.id == state.id == f"{hello.data['boot']}-0"
    assert state.data["jobs"] == host.get("/jobs").json["jobs"]
    assert "disk" in state.data["health"] and state.data["services"]


def test_a_job_is_told_from_its_start_to_its_end_with_its_log(host: Host) -> None:
    with following(host) as curl:
        curl.wait_for("state")
        id = change_settings(host)
        curl.wait_for("job", lambda job: job["id"] == id and job["status"] == "success")
        record = host.get(f"/jobs/{id}").json
        told = curl.events()

    jobs = [each.data for each in told if each.name == "job"]
    assert jobs[0]["status"] == "running"
    assert jobs[-1] == {key: value for key, value in record.items() if key != "log"}
    log = "".join(each.data["text"] for each in told if each.name == "log")
    assert log == (host.appliance.jobs / f"{id}.log").read_text() != ""
    numbers = [int(each.id.partition("-")[2]) for each in told]
    assert numbers == [0, 0, *range(1, len(told) - 1)]

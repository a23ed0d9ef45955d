"""32 streams of events: what they cost other requests while a job runs, and 1,000 events a second to all of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import load, servers
from bench.processes import begin_peak, peak, pid_of
from bench.rows import Row
from jidoteki.core.appliance import Appliance
from jidoteki.testing import Host

STREAMS = 32
RATE = 1000
MIB = 1024 * 1024
PAUSE = 0.02
CONNECTIONS = 4
#: No event has this number: such followers are there until they are ended.
NEVER = 10**9

_SOURCE = '''"""Publishes events as fast as it is told to, and has a job that talks."""

import asyncio
import time

import voluptuous as vol

from jidoteki.hookspecs import Endpoint, JobType, LiveEvent, hookimpl


def talk(job):
    for number in range(int(job.input["seconds"] * 10)):
        job.log(f"line {number}")
        job.progress(number % 100)
        time.sleep(0.1)


async def start(request):
    return await request.start_job("bench", seconds=request.values["seconds"])


async def publish(request):
    began, count, rate = time.monotonic(), request.values["count"], request.values["rate"]
    for number in range(1, count + 1):
        request.service.publish(LiveEvent("bench.tick", {"number": number, "text": "x" * 100}, "/bench"))
        ahead = number / rate - (time.monotonic() - began)
        if ahead > 0.002:
            await asyncio.sleep(ahead)
    return {"published": count}


@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("bench", run=talk)]


@hookimpl
def jidoteki_endpoints(appliance):
    number = vol.Coerce(int)
    return [
        Endpoint("POST", "/bench", start, parameters={vol.Required("seconds"): number}),
        Endpoint("GET", "/bench", publish, parameters={vol.Required("count"): number, vol.Required("rate"): number}),
    ]
'''


@dataclass(frozen=True, slots=True)
class Followed:
    """How many streams brought everything in order, and in how many seconds."""

    whole: int
    seconds: float


def rows(quick: bool) -> list[Row]:
    """p99 of other requests beside that without streams; what is not delivered, events a second, memory."""
    seconds, runs, count = (2.0, 1, 2000) if quick else (8.0, 5, 10_000)
    alone, beside, missing, rates, memory = [], [], [], [], []
    with servers.directory() as below:
        on = _with_plugin(below)
        with servers.service(on, **_configuration()) as host:
            _deliver(host, RATE)  # the first time fills the ring and caches
            for _ in range(runs):
                alone.append(_p99(host, seconds))
                with _following(host, NEVER) as process:
                    _start_job(host, seconds)
                    beside.append(_p99(host, seconds))
                    process.terminate()
                servers.wait_for_job(host, "bench", 60)
                before = begin_peak(pid_of(host))
                followed = _deliver(host, count)
                memory.append((peak(pid_of(host)) - before) / MIB)
                missing.append(float(STREAMS - followed.whole))
                rates.append((count - 1) / followed.seconds)
    name = f"{STREAMS} streams of events"
    return [
        Row(f"{name} and a job: GET /version p99", "ms", beside, alone, "without", 1.5),
        Row(f"{name}: not all in order", "streams", missing, [], "", 0),
        Row(f"{name}: events delivered to each", "events/s", rates, [], "", 0.98 * RATE, at_least=True),
        Row(f"{name}: memory for them", "MiB", memory, [], "", 8),
    ]


def _with_plugin(below: Path) -> Appliance:
    on = servers.appliance(below)
    plugins = on.system_etc / "plugins"
    plugins.mkdir(mode=0o755)
    (plugins / "bench.py").write_text(_SOURCE)
    return on


def _configuration() -> dict[str, Any]:
    names = ["events", "bench"]
    return {"endpoints": names, "parameters": None, "plugin_directory": "usr/local/etc/plugins"}


def _p99(host: Host, seconds: float) -> float:
    measured = load.measure(
        servers.place(host).address(True), servers.request(host),
        tls=True, seconds=seconds, connections=CONNECTIONS, pause=PAUSE,
    )  # fmt: skip
    if measured.failed:
        raise AssertionError(f"{measured.failed} requests failed")
    return measured.p99


def _start_job(host: Host, seconds: float) -> None:
    answer = host.post("/bench", "-F", f"seconds={int(seconds + 2)}")
    if answer.status != 202:
        raise AssertionError(answer)


@contextlib.contextmanager
def _following(host: Host, last: int) -> Iterator[subprocess.Popen[bytes]]:
    """Clients that follow until the event of this number."""
    argv = [sys.executable, "-m", "bench.followers", servers.place(host).address(True), str(STREAMS), str(last)]
    process = subprocess.Popen([*servers.pinned(1), *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdin.write(servers.request(host, "/events"))
    process.stdin.close()
    try:
        if process.stdout.readline() != b"ready\n":
            raise AssertionError("The streams did not begin")
        time.sleep(0.5)  # what they begin with is over
        yield process
    finally:
        process.kill()
        process.wait(20)


def _deliver(host: Host, count: int) -> Followed:
    with _following(host, count) as process:
        answer = host.get("/bench", query=f"count={count}&rate={RATE}")
        if answer.status != 200:
            raise AssertionError(answer, host.errors())
        assert process.stdout
        return Followed(**json.loads(process.stdout.readline()))

"""From the start to the first answer, beside importing aiohttp; and memory at rest, beside bare aiohttp."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

from bench import load, processes, servers
from bench.rows import Row, interleaved
from jidoteki.core.appliance import Appliance

MIB = 1024 * 1024
RESTING = 1.0


def rows(quick: bool) -> list[Row]:
    """Milliseconds and resident MiB."""
    runs, rests = (3, 1) if quick else (15, 3)
    with servers.directory() as below:
        on = servers.appliance(below)
        mine, its = interleaved(lambda: _start(on), _import, runs)
        rest, bare = interleaved(lambda: _service_at_rest(on), lambda: _bare_at_rest(on, below), rests)
    return [
        Row("start to the first answer", "ms", mine["ms"], its["ms"], "import aiohttp.web", 2.5),
        Row("memory at rest", "MiB", rest["rss"], bare["rss"], "bare aiohttp", 1.8),
    ]


def _start(on: Appliance) -> dict[str, float]:
    began = time.perf_counter()
    with servers.service(on, core=None) as host:
        load.first_answer(host)
        return {"ms": (time.perf_counter() - began) * 1000}


def _import() -> dict[str, float]:
    return {"ms": processes.seconds([sys.executable, "-c", "import aiohttp.web"]) * 1000}


def _service_at_rest(on: Appliance) -> dict[str, float]:
    with servers.service(on) as host:
        load.first_answer(host)
        return _at_rest(processes.pid_of(host))


def _bare_at_rest(on: Appliance, below: Path) -> dict[str, float]:
    with servers.bare(on, below, b"HTTP/1.1 200 OK\r\n\r\n") as bare:
        load.measure(bare.place.address(False), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tls=False, seconds=0.1)
        return _at_rest(bare.pid)


def _at_rest(pid: int) -> dict[str, float]:
    time.sleep(RESTING)
    return {"rss": psutil.Process(pid).memory_info().rss / MIB}

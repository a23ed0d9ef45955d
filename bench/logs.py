"""`GET /logs` of much text, to the last byte of the answer, beside `tar | gzip` of the same files."""

from __future__ import annotations

import time
from pathlib import Path

from bench import content, processes, servers
from bench.rows import Row, interleaved
from jidoteki.testing import Host

MIB = 1024 * 1024
PIPELINE = 'tar c -C "$1" . | gzip > "$2/logs.tar.gz"'


def rows(quick: bool) -> list[Row]:
    """Seconds, and the size of what comes."""
    size, runs = (32 * MIB, 2) if quick else (512 * MIB, 3)
    with servers.directory() as below:
        on = servers.appliance(below)
        content.write_logs(on.log, size)
        (on.etc / "logs.txt").write_text("")
        with servers.service(on, core=None) as host:
            mine, its = interleaved(lambda: _get(host), lambda: _pipeline(on.log, below), runs)
    name = f"GET /logs, {size // MIB} MiB of text"
    return [
        Row(name, "s", mine["s"], its["s"], "tar | gzip", 0.5),
        Row(f"{name}, size", "MiB", mine["size"], its["size"], "tar | gzip", 1.15),
    ]


def _get(host: Host) -> dict[str, float]:
    processes.settle()
    began = time.perf_counter()
    answer = host.get("/logs")
    taken = time.perf_counter() - began
    if answer.status != 200:
        raise AssertionError(answer)
    return {"s": taken, "size": len(answer.body) / MIB}


def _pipeline(log: Path, below: Path) -> dict[str, float]:
    processes.settle()
    taken = processes.seconds(["sh", "-c", PIPELINE, "sh", log, below])
    return {"s": taken, "size": (below / "logs.tar.gz").stat().st_size / MIB}

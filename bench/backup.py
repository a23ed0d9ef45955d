"""The backup job, beside `tar c` and then `sha256sum`: one large file, and many small ones."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bench import content, processes, servers
from bench.rows import Row, interleaved
from jidoteki.testing import Host

MIB = 1024 * 1024
PIPELINE = 'tar cf "$2/backup.tar" -C "$1" . && sha256sum "$2/backup.tar"'


def rows(quick: bool) -> list[Row]:
    """Seconds from `POST /backup` to the job's end."""
    size, number, runs, small = (64 * MIB, 2000, 2, 2) if quick else (1024 * MIB, 100_000, 5, 9)
    return [
        _row(f"backup, one file of {size // MIB} MiB", 0.8, runs, lambda data: content.write_one(data / "one", size)),
        _row(f"backup, {number:,} files of 1 KiB", 1.5, small, lambda data: content.write_many(data, number)),
    ]


def _row(name: str, target: float, runs: int, fill: Callable[[Path], None]) -> Row:
    with servers.directory() as below:
        on = servers.appliance(below)
        data = on.data / "app"
        shutil.rmtree(data)
        data.mkdir()
        fill(data)
        with servers.service(on, core=None) as host:
            mine, its = interleaved(lambda: _back_up(host), lambda: _pipeline(data, below), runs)
    return Row(name, "s", mine["s"], its["s"], "tar c, sha256sum", target)


def _back_up(host: Host) -> dict[str, float]:
    processes.settle()
    began = time.perf_counter()
    answer = host.post("/backup", "-F", "action=START")
    if answer.status != 202:
        raise AssertionError(answer)
    ended = servers.wait_for_job(host, "backup", 600)
    taken = time.perf_counter() - began
    if ended != "success":
        raise AssertionError(ended)
    host.post("/backup", "-F", "action=STOP")
    return {"s": taken}


def _pipeline(data: Path, below: Path) -> dict[str, float]:
    processes.settle()
    taken = processes.seconds(["sh", "-c", PIPELINE, "sh", data, below])
    (below / "backup.tar").unlink()
    return {"s": taken}

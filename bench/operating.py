"""`GET /jobs` of a hundred jobs beside `GET /version`, and how long `GET /metrics` takes; one request at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from bench import load, servers
from bench.rows import Row, interleaved
from jidoteki.core.appliance import Appliance
from jidoteki.testing import Host

JOBS = 100
#: Seconds between two scrapes: more than anything of it is kept.
PAUSE = 1.1
#: Seconds after which the records are old enough to be kept in memory.
SETTLING = 3.0


def rows(quick: bool) -> list[Row]:
    """Milliseconds of a request on one keep-alive connection, over TLS."""
    seconds, runs = (0.4, 3) if quick else (1.0, 11)
    scraped = (5 if quick else 20) * PAUSE
    with servers.directory() as below:
        on = servers.appliance(below)
        _write_records(on)
        with servers.service(on, endpoints=["metrics", "history", "audit", "session", "backup"]) as host:
            time.sleep(SETTLING)
            version = _taking(host, "/version", seconds)
            jobs, beside = interleaved(_taking(host, "/jobs", seconds), version, runs)
            metrics, _ = interleaved(_taking(host, "/metrics", scraped, PAUSE), version, 3)
    return [
        Row(f"GET /jobs of {JOBS}", "ms", jobs["ms"], beside["ms"], "GET /version", 3),
        Row("GET /metrics", "ms", metrics["ms"], [], "", 5),
    ]


def _taking(host: Host, path: str, seconds: float, pause: float = 0) -> Callable[[], dict[str, float]]:
    def take() -> dict[str, float]:
        measured = load.measure(
            servers.place(host).address(True), servers.request(host, path),
            tls=True, seconds=seconds, connections=1, pause=pause,
        )  # fmt: skip
        if measured.failed:
            raise AssertionError(f"{measured.failed} requests failed")
        return {"ms": measured.p50}

    return take


def _write_records(on: Appliance) -> None:
    on.prepare()
    for number in range(1, JOBS + 1):
        id = f"{number:06d}-settings"
        record = {
            "id": id, "kind": "settings", "status": "success" if number % 3 else "failed", "percentage": 100,
            "started": 1.7e9 + number, "ended": 1.7e9 + number + 5, "client": "192.0.2.7", "user": "admin",
            "error_message": None if number % 3 else "network.sh failed with exit status 1",
        }  # fmt: skip
        on.replace_file(on.jobs / f"{id}.json", json.dumps(record), 0o600)

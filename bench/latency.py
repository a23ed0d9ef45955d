"""How long a `GET /version` takes while an upload, an update job, a backup and a packing of the logs go on."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from pathlib import Path

from bench import content, load, servers
from bench.cpu_group import cpu_group
from bench.rows import Row
from bench.update_job import make_package
from bench.upload import post_package
from jidoteki.core.appliance import Appliance
from jidoteki.testing import Host

MIB = 1024 * 1024
PAUSE = 0.02
CONNECTIONS = 4


def rows(quick: bool) -> list[Row]:
    """p99 in milliseconds at a steady 200 requests a second, at rest and under load."""
    seconds, runs, size = (2.0, 1, 8 * MIB) if quick else (8.0, 5, 256 * MIB)
    with servers.directory() as below, cpu_group() as joining:
        on = servers.appliance(below)
        _fill(on, size)
        package = make_package(below, on, size)
        ways = {"": (), ", in a group": joining}
        idle: dict[str, list[float]] = defaultdict(list)
        busy: dict[str, list[float]] = defaultdict(list)
        for _, (way, prefix) in product(range(runs), ways.items()):
            if prefix is not None:
                with servers.service(on, core=None, prefix=prefix) as host:
                    idle[way].append(_p99(host, seconds / 2))
                    busy[way].append(_while_working(host, package, size, seconds))
    found = []
    for way, figures in busy.items():
        name = f"GET /version p99 while all works{way}"
        found.append(Row(name, "ms", figures, idle[way], "at rest", 5))
        found.append(Row(f"{name}, absolute", "ms", figures, [], "", 50))
    return found


def _fill(on: Appliance, size: int) -> None:
    content.write_one(on.data / "app/one", size)
    content.write_logs(on.log, size // 4)
    (on.etc / "logs.txt").write_text("")


def _p99(host: Host, seconds: float) -> float:
    measured = load.measure(
        servers.place(host).address(True), servers.request(host),
        tls=True, seconds=seconds, connections=CONNECTIONS, pause=PAUSE,
    )  # fmt: skip
    if measured.failed:
        raise AssertionError(f"{measured.failed} requests failed")
    return measured.p99


def _while_working(host: Host, package: Path, size: int, seconds: float) -> float:
    """The p99 while each kind of work starts anew as soon as it has ended."""
    ended = threading.Event()
    problems: list[BaseException] = []
    works = (
        lambda: _upload(host, package, size),
        lambda: _back_up(host),
        lambda: _expect(host.get("/logs").status, 200),
    )
    threads = [threading.Thread(target=_repeat, args=(work, ended, problems)) for work in works]
    for thread in threads:
        thread.start()
    try:
        return _p99(host, seconds)
    finally:
        ended.set()
        for thread in threads:
            thread.join(120)
        if problems:
            raise problems[0]


def _repeat(work: Callable[[], None], ended: threading.Event, problems: list[BaseException]) -> None:
    try:
        while not ended.is_set():
            work()
    except BaseException as error:
        problems.append(error)


def _upload(host: Host, package: Path, size: int) -> None:
    """An update with its upload; what takes longest of it is the upload and the job that unpacks."""
    answer = host.post("/update", "-F", f"update=@{package}", "-H", "Expect:")
    _expect(answer.status, 202)
    servers.wait_for_job(host, "update", 120)
    host.appliance.replace_file(host.appliance.etc / "version.txt", "1.0.0\n")
    host.appliance.jobs.joinpath("highest-version").unlink(missing_ok=True)
    post_package(host, size)
    servers.wait_for_job(host, "update", 120)


def _back_up(host: Host) -> None:
    _expect(host.post("/backup", "-F", "action=START").status, 202)
    servers.wait_for_job(host, "backup", 120)


def _expect(status: int, wanted: int) -> None:
    if status != wanted:
        raise AssertionError(f"{status} instead of {wanted}")

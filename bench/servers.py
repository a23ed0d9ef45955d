"""The servers that are measured: the service on an appliance of its own, and bare aiohttp. Both get the first core."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli.init import make
from jidoteki.core.jobs.records import Records
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until

TOKEN = "correct-horse-battery"  # noqa: S105  # of a temporary appliance


def pinned(core: int) -> tuple[str, ...]:
    """A command prefix that keeps a process on one core, where the machine has more than one and a tool for it."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2 or not shutil.which("taskset"):
        return ()
    return ("taskset", "-c", str(usable[core]))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is reached, over HTTP and TLS."""

    host: str
    port: int
    tls_port: int

    def address(self, tls: bool) -> str:
        """`127.0.0.1:8443`."""
        return f"{self.host}:{self.tls_port if tls else self.port}"


@contextmanager
def directory() -> Iterator[Path]:
    """A directory for one benchmark, removed at its end."""
    with tempfile.TemporaryDirectory(prefix="jidoteki-bench-") as name:
        yield Path(name)


def appliance(below: Path) -> Appliance:
    """Make an appliance with a token and all endpoints."""
    return make(below / "appliance", TOKEN)


@contextmanager
def service(on: Appliance, core: int | None = 0, prefix: tuple[str, ...] = (), **sections: object) -> Iterator[Host]:
    """Run the service as its users do, over HTTP and TLS.

    :param core: the core it runs on; None for any.
    :param prefix: a command to run it under.
    :param sections: changes of the configuration.
    """
    host = Host(on, TOKEN)
    if sections:
        host.configure(**sections)
    host.start("--http-port", "0", prefix=(*prefix, *(() if core is None else pinned(core))))
    try:
        yield host
    finally:
        host.stop()


def place(host: Host) -> Place:
    """Where a host is reached."""
    return Place("127.0.0.1", int(host.plain_url.rsplit(":", 1)[1]), int(host.url.rsplit(":", 1)[1]))


@dataclass(frozen=True, slots=True)
class Bare:
    """A running reference server."""

    place: Place
    pid: int


@contextmanager
def bare(on: Appliance, below: Path, response: bytes = b"", core: int | None = 0) -> Iterator[Bare]:
    """Run bare aiohttp with the appliance's certificate.

    :param below: where it writes what is posted.
    :param response: an HTTP response, whose headers and body it answers `GET /version` with.
    """
    answer = below / "answer"
    answer.write_bytes(response)
    pem = on.system_etc / "pki/tls/enterprise.pem"
    argv = [sys.executable, "-m", "bench.bare", str(pem), str(answer), str(below)]
    process = subprocess.Popen([*(() if core is None else pinned(core)), *argv], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        ports = process.stdout.readline().split()
        yield Bare(Place("127.0.0.1", int(ports[0]), int(ports[1])), process.pid)
    finally:
        process.terminate()
        process.wait(20)


def request(host: Host, path: str = "/version") -> bytes:
    """An authenticated GET as it goes over the wire."""
    return f"GET {PREFIX}{path}{host.query('GET', path)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def wait_for_job(host: Host, job_type: str, seconds: float) -> str:
    """Wait for the end of the last job of a type and return its status; to ask the host would be a load of its own."""
    records = Records(host.appliance.jobs)

    def ended() -> str | None:
        record = records.latest(job_type)
        return record.status if record and record.status != "running" else None

    return str(wait_until(ended, seconds, interval=0.01))

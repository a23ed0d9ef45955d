"""How long requests take on a whole system, while each kind of work goes on that makes one busy."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from conftest import BuildUpdate
from guestkit import ADMIN, TOKEN
from places import ROOT

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import wait_until

#: Four connections, each with a request 20 ms after the answer to the one before, as in `make bench`.
CONNECTIONS, PAUSE = 4, 0.02
REQUEST = f"GET {PREFIX}/version HTTP/1.1\r\nHost: appliance\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
MARKS = f"/var/lib/jidoteki-job/highest-version {ADMIN}/jobs/highest-version"


class Appliance(Protocol):
    """A whole system: a guest or a machine."""

    def request(self, method: str, path: str, *arguments: str) -> tuple[int, str]:
        """Make a request; return its status and the body."""

    def sh(self, script: str) -> str:
        """Run a shell script as root, and return what it says."""


class Load(NamedTuple):
    """What requests took, in milliseconds at the 99th percentile, and how often each work was done meanwhile."""

    at_rest: float
    busy: float
    done: dict[str, int]


def fill(appliance: Appliance, mib: int) -> None:
    """Make data of a size, and a log of a quarter of it."""
    appliance.sh(
        f"mkdir -p /data/app; head -c {mib}M /dev/urandom >/data/app/large; chown -R jidoteki: /data/app\n"
        f"base64 /dev/urandom | head -c {mib // 4}M >{ADMIN}/log/large.log; sync\n"
        f"echo {ADMIN}/log >{ADMIN}/etc/logs.txt"
    )


def large_update(build_update: BuildUpdate, mib: int) -> Path:
    """Build an update that brings a file of a size that does not shrink."""
    return build_update("#!/bin/sh\necho updated\n", {"large": secrets.token_hex(mib << 19)}).path


def load_of(appliance: Appliance, address: str, package: str, enter: Sequence[str] = (), seconds: float = 10) -> Load:
    """Measure requests at rest, and while updates, backups and the packing of logs go on, each again and again.

    :param address: where the service is, and `enter` what a program is run by to be there.
    """
    done = {"update": 0, "backup": 0, "logs": 0}
    works = {
        "update": lambda: _update(appliance, package),
        "backup": lambda: _back_up(appliance),
        "logs": lambda: _expect(appliance.request("GET", "/logs", "-o", "/dev/null"), 200),
    }
    at_rest = _p99(address, enter, seconds / 2)
    with _repeated(works, done):
        busy = _p99(address, enter, seconds)
    return Load(at_rest, busy, done)


def _p99(address: str, enter: Sequence[str], seconds: float) -> float:
    generator = (sys.executable, ROOT / "bench/generator.py", address, str(seconds), str(CONNECTIONS), str(PAUSE))
    done = subprocess.run([*enter, *generator, "--tls"], input=REQUEST, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["failed"] == 0, said
    return float(said["p99"])


@contextmanager
def _repeated(works: dict[str, Callable[[], None]], done: dict[str, int]) -> Iterator[None]:
    ended = threading.Event()
    problems: list[BaseException] = []

    def repeat(name: str) -> None:
        try:
            while not ended.is_set():
                works[name]()
                done[name] += 1
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=repeat, args=(name,)) for name in works]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        ended.set()
        for each in threads:
            each.join()
    if problems:
        raise problems[0]


def _update(appliance: Appliance, package: str) -> None:
    """Install a package that is always a newer one."""
    appliance.sh(f"rm -f {MARKS}; echo 1.0.0 >{ADMIN}/etc/version.txt")
    _expect(appliance.request("POST", "/update", "-F", f"update=@{package}"), 202)
    _succeeds(appliance, "/update")


def _back_up(appliance: Appliance) -> None:
    _expect(appliance.request("POST", "/backup", "-F", "action=START"), 202)
    _succeeds(appliance, "/backup")


def _succeeds(appliance: Appliance, path: str) -> None:
    def ended() -> str | None:
        status = str(json.loads(appliance.request("GET", path)[1])["status"])
        return status if status not in ("running", "waiting") else None

    ended_as = wait_until(ended, 300, 0.25)
    assert ended_as == "success", appliance.request("GET", path)


def _expect(answer: tuple[int, str], wanted: int) -> None:
    assert answer[0] == wanted, answer

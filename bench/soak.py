"""`python -m bench.soak [--minutes N]`: mixed work for a while, after which nothing may have grown.

Requests, uploads, jobs of every kind, changes of the certificate and reloads of the configuration go on beside each
other. From the end of the warm-up (two minutes, or the first third of a shorter run) to the end the service's memory,
descriptors, threads, child processes and temporary files stay flat, and no request fails. Exits 1 when one of that is
not so.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench import content, servers
from bench.certificates import new_certificate
from bench.soak_samples import Sample, sample, verdicts
from bench.update_job import make_package
from jidoteki.core.appliance import Appliance
from jidoteki.testing import Answer, Host

MIB = 1024 * 1024
WARM_UP = 120.0
INTERVAL = 5.0
RELOADS_EACH = 7.0
POLL = 0.2


class Work:
    """What is done over and over; each answer that is not as it should be is a failure."""

    def __init__(self, host: Host, below: Path) -> None:
        self._host, self._below = host, below
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self._package = make_package(below, host.appliance, 4 * MIB, "1.1.0")
        self._threads = [
            threading.Thread(target=self._repeat, args=(each,))
            for each in (self._read, self._read, self._update, self._back_up, self._support, self._certs,
                         self._settings, self._reload)
        ]  # fmt: skip

    def start(self) -> None:
        """Begin; settings come first, because others read them."""
        self._settings()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, each kind of work after what it has begun."""
        self._ended.set()
        for thread in self._threads:
            thread.join(120)

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._ended.is_set():
            try:
                work()
            except Exception as error:
                self._failed(f"{work.__name__}: {error!r}")
                self._ended.wait(1)

    def _failed(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)

    def _expect(self, answer: Answer, status: int, what: str) -> Answer:
        with self._lock:
            self.done[what] += 1
        if answer.status != status:
            self._failed(f"{what}: {answer.status} {answer.body[:200]!r}")
        return answer

    def _get(self, path: str) -> Answer:
        return self._host.get(path, "--insecure")  # the certificate may change between two steps of curl

    def _post(self, path: str, *fields: str) -> Answer:
        return self._host.post(path, "--insecure", *fields)

    def _job(self, path: str) -> None:
        ended = self._wait(path)
        if ended != "success":
            self._failed(f"the job of {path}: {ended}")

    def _wait(self, path: str) -> str:
        for _ in range(600):
            status = self._expect(self._get(path), 200, f"GET {path}").json["status"]
            if status != "running":
                return str(status)
            time.sleep(POLL)
        return "never ended"

    def _read(self) -> None:
        for path in ("/version", "/health", "/services", "/endpoints", "/settings", "/changelog"):
            self._expect(self._get(path), 200, f"GET {path}")
        self._expect(self._get("/nothing"), 404, "GET /nothing")

    def _update(self) -> None:
        self._host.appliance.replace_file(self._host.appliance.etc / "version.txt", "1.0.0\n")
        self._host.appliance.jobs.joinpath("highest-version").unlink(missing_ok=True)
        self._expect(self._post("/update", "-F", f"update=@{self._package}"), 202, "POST /update")
        self._job("/update")

    def _back_up(self) -> None:
        self._expect(self._post("/backup", "-F", "action=START"), 202, "POST /backup")
        self._job("/backup")
        self._expect(self._get("/backup/download"), 200, "GET /backup/download")
        self._expect(self._post("/backup", "-F", "action=STOP"), 202, "POST /backup, STOP")

    def _support(self) -> None:
        for path in ("/logs", "/debug"):
            self._expect(self._get(path), 200, f"GET {path}")

    def _certs(self) -> None:
        private, public = new_certificate(self._below)
        fields = ("-F", f"public=@{public}", "-F", f"private=@{private}", "-F", f"ca=@{public}")
        self._expect(self._post("/certs", *fields), 202, "POST /certs")
        self._job("/certs")
        self._ended.wait(1)

    def _settings(self) -> None:
        document = json.dumps({"network": {"interface": "eth0", "hostname": "soak"}})
        self._expect(self._post("/settings", "-F", f"settings={document}"), 202, "POST /settings")
        self._ended.wait(2)

    def _reload(self) -> None:
        self._ended.wait(RELOADS_EACH)
        self._host.reload()
        with self._lock:
            self.done["reload"] += 1


def main() -> int:
    """Run it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends the servers too
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    with servers.directory() as below:
        on = _appliance(below)
        with servers.service(on, core=None) as host:
            work = Work(host, below)
            samples = _watched(host, work, seconds)
    print("\n".join(f"{count:8} {what}" for what, count in sorted(work.done.items())))
    return _report(samples, work, min(WARM_UP, seconds / 3))


def _appliance(below: Path) -> Appliance:
    on = servers.appliance(below)
    content.write_one(on.data / "app/one", 8 * MIB)
    (on.etc / "logs.txt").write_text("")
    (on.etc / "debug.txt").write_text("uname -a\n")
    return on


def _watched(host: Host, work: Work, seconds: float) -> list[Sample]:
    samples = []
    began = time.monotonic()
    work.start()
    try:
        while (passed := time.monotonic() - began) < seconds:
            time.sleep(min(INTERVAL, seconds - passed))
            samples.append(sample(host, time.monotonic() - began))
            print(samples[-1].line(), file=sys.stderr, flush=True)
    finally:
        work.stop()
    return samples


def _report(samples: list[Sample], work: Work, warm_up: float) -> int:
    wrong = [*verdicts([each for each in samples if each.time >= warm_up]), *work.failures[:20]]
    print("\n".join(wrong) or f"{sum(work.done.values())} requests, none failed, nothing grew")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

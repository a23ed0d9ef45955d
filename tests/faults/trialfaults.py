"""What befalls a change on trial, whatever it changes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from faultkit import Reply

from jidoteki.testing import Answer, Host, wait_until

TEN_YEARS = 10 * 365 * 86400


class OnTrial(Protocol):
    """A host on which something is tried."""

    @property
    def host(self) -> Host:
        """The host."""

    def post(self) -> Reply | Answer:
        """Post the change."""

    def record(self, id: str) -> Mapping[str, Any]:
        """The record of a run."""

    def kill(self, id: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process of a run."""


Fault = Callable[[OnTrial, str], None]


def nothing(trial: OnTrial, id: str) -> None:
    """Let it be."""


def kill_the_service(trial: OnTrial, id: str) -> None:
    """Kill the service, and start it again."""
    trial.host.stop(signal.SIGKILL)
    trial.host.start()


def restart_the_service(trial: OnTrial, id: str) -> None:
    """End the service, and start it again."""
    trial.host.stop()
    trial.host.start()


def cut_the_power(trial: OnTrial, id: str) -> None:
    """Kill the service and the job, and start the service again."""
    trial.host.stop(signal.SIGKILL)
    trial.kill(id)
    trial.host.start()


def kill_twice(trial: OnTrial, id: str) -> None:
    """Kill the job, and the process that goes on with it."""
    former = trial.record(id)["pid"]
    trial.kill(id)
    wait_until(lambda: trial.record(id)["pid"] != former or trial.record(id)["status"] != "running")
    trial.kill(id)


def post_another(trial: OnTrial, id: str) -> None:
    """Post another change, which is refused."""
    assert trial.post().status == 400


def reload(trial: OnTrial, id: str) -> None:
    """Let the service read its configuration again."""
    trial.host.reload()


def jump(seconds: int) -> Fault:
    """Return the fault that the power fails, and that the clock is another one afterwards."""

    def fault(trial: OnTrial, id: str) -> None:
        trial.host.stop(signal.SIGKILL)
        trial.kill(id)
        jobs = trial.host.appliance.jobs
        record = json.loads((jobs / f"{id}.json").read_text())
        record["started"] = max(0, record["started"] + seconds)
        trial.host.appliance.replace_file(jobs / f"{id}.json", json.dumps(record), 0o600)
        for path in jobs.iterdir():
            status = path.stat()
            os.utime(path, (status.st_atime + seconds, status.st_mtime + seconds))
        trial.host.start()

    return fault


FAULTS: dict[str, Fault] = {
    "nothing": nothing,
    "SIGKILL of the job": lambda trial, id: trial.kill(id),
    "SIGTERM of the job": lambda trial, id: trial.kill(id, signal.SIGTERM),
    "SIGKILL of the job, twice": kill_twice,
    "SIGKILL of the service": kill_the_service,
    "a restart of the service": restart_the_service,
    "a reload of the service": reload,
    "a power cut": cut_the_power,
    "a power cut, and a clock ten years ahead": jump(-TEN_YEARS),
    "a power cut, and a clock ten years behind": jump(TEN_YEARS),
    "another change meanwhile": post_another,
}

"""Updates that root's units try out over real restarts of a machine, whose power is cut in each of their states."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import BuildUpdate, Update
from machinekit import Machine

from jidoteki.testing import wait_until

APP = "/var/lib/vendor"
DESCRIBED = {"package.json": '{{"reboot": true}}'}
#: What each program begins with: `note` says that it runs, and `hold` waits there as long as a test wants it.
BEGIN = f"""#!/bin/sh
set -e
cd {APP}
note() {{{{ echo $1 >>ran; sync ran; }}}}
hold() {{{{ while [ -e hold-$1 ]; do touch held-$1; sleep 0.2; done; }}}}
"""
PROGRAMS = {
    "preflight.sh": "hold preflight\n",
    "update.sh": "note update; echo {version} >one; hold update; echo {version} >two\n",
    "verify.sh": "note verify; [ $(grep -c verify ran) = 1 ] || {{ hold verify; [ ! -e wrong ]; }}\n",
    "rollback.sh": "note rollback; echo former >one; hold rollback; echo former >two\n",
}
WRONG = "verify.sh failed with exit status 1"
CUT = "The job ended unexpectedly: it was killed, or the power failed"
BACK = "The former version is back"


class Trying:
    """A machine with the former version of an application, and an update that restarts it.

    :param hold: the program that waits: `verify` after the restart alone.
    :param wrong: whether the update does not work after the restart.
    """

    def __init__(self, machine: Machine, build_update: BuildUpdate, hold: str = "", wrong: bool = False) -> None:
        self.machine = machine
        self.before = machine.json("/version")
        files = [f"hold-{hold}"] * bool(hold) + ["wrong"] * wrong
        machine.sh(
            f"rm -rf {APP}; mkdir {APP}; cd {APP}; touch ran {' '.join(files)}; echo former | tee one >two; sync"
        )
        programs = {name: BEGIN + commands for name, commands in PROGRAMS.items()}
        self.update: Update = build_update(programs.pop("update.sh"), {**programs, **DESCRIBED})
        self._hold = hold
        self.id = machine.begin("/update", "-F", f"update=@{self.update.path}")

    def is_held(self) -> None:
        """Wait until the program waits."""
        wait_until(lambda: "held" in self.machine.sh(f"ls {APP}"), 400, 1)

    def release(self) -> None:
        """Let the program go on."""
        self.machine.sh(f"rm -f {APP}/hold-{self._hold}")

    def restarts(self, why: str) -> None:
        """Wait until clients are told that the machine restarts."""
        wait_until(lambda: self.record().get("restarting") == f"Restarting the appliance to {why}", 400, 0.2)

    def record(self) -> dict[str, Any]:
        """Return the record of the update; an empty one while nobody answers."""
        status, body = self.machine.request("GET", f"/jobs/{self.id}")
        return dict(json.loads(body)) if status == 200 else {}

    def ended(self) -> dict[str, Any]:
        """Return the record once the update has ended, over all restarts."""
        return self.machine.ended(self.id, 900)

    def is_in_force(self, wanted: str) -> None:
        """Assert that the application is wholly of a version."""
        found = self.machine.sh(f"cd {APP}; cat one two").split()
        assert found == [wanted, wanted]
        version = self.before if wanted == "former" else {"version": self.update.version}
        assert self.machine.json("/version") == version

    @property
    def ran(self) -> list[str]:
        """The programs that ran, in order."""
        return self.machine.sh(f"cat {APP}/ran").split()


def is_told(machine: Machine, code: str, message: str) -> None:
    """Assert that a failed update is told in all places but its record and its event."""
    machine.is_told("update", code, message)
    assert message in machine.request("GET", "/update/log")[1]
    assert machine.json("/update")["error-code"] == code


@contextmanager
def events(machine: Machine, file: Path) -> Iterator[Path]:
    """Follow the events of a machine, into a file, as long as this boot lasts."""
    with file.open("wb") as output:
        process = subprocess.Popen(machine.curl("GET", "/events", "--no-buffer", seconds=900), stdout=output)
    try:
        yield file
    finally:
        process.kill()
        process.wait()


def test_an_update_is_verified_after_the_restart(machine: Machine, build_update: BuildUpdate) -> None:
    restarts = machine.restarts
    trying = Trying(machine, build_update)

    trying.restarts("try the update")

    assert trying.ended()["status"] == "success"
    assert machine.restarts == restarts + 1
    assert trying.ran == ["update", "verify", "verify"]
    trying.is_in_force(trying.update.version)
    assert machine.json("/update")["status"] == "success"
    assert machine.sh("ls /var/lib/jidoteki-job/runs") == ""


def test_one_that_does_not_work_after_the_restart_is_rolled_back(
    machine: Machine, build_update: BuildUpdate, tmp_path: Path
) -> None:
    restarts = machine.restarts
    trying = Trying(machine, build_update, "verify", wrong=True)
    trying.is_held()
    with events(machine, tmp_path / "events") as told:
        trying.release()
        wait_until(lambda: "go back to the former version" in told.read_text(), 400, 0.5)

    job = trying.ended()

    assert (job["status"], job["error-code"], job["error-message"]) == ("failed", "E2003", f"{WRONG}. {BACK}")
    assert machine.restarts == restarts + 2
    assert trying.ran == ["update", "verify", "verify", "rollback"]
    trying.is_in_force("former")
    is_told(machine, "E2003", f"{WRONG}. {BACK}")


#: What holds when the power is cut, the programs that ran in the end, how the update ended, and the restarts after it.
CUTS = {
    "preflight": ([], "E1000", CUT, 0),
    "update": (["update", "rollback"], "E1002", f"{CUT}. {BACK}", 1),
    "": (["update", "verify", "verify"], None, None, 0),
    "verify": (["update", "verify", "verify", "rollback"], "E2003", f"{CUT}. {BACK}", 1),
    "rollback": (["update", "verify", "verify", "rollback", "rollback"], "E2003", f"{WRONG}. {BACK}", 1),
}


@pytest.mark.parametrize("hold", CUTS, ids=lambda hold: hold or "restart")
def test_a_cut_leaves_the_former_version_or_the_new_one(machine: Machine, build_update: BuildUpdate, hold: str) -> None:
    ran, code, message, restarts = CUTS[hold]
    trying = Trying(machine, build_update, hold, wrong=hold == "rollback")
    if hold:
        trying.is_held()
    else:
        trying.restarts("try the update")

    machine.cut()
    restarts += machine.restarts
    machine.boot()
    trying.release()

    job = trying.ended()
    assert (job.get("error-code"), job.get("error-message")) == (code, message)
    assert machine.restarts == restarts
    assert trying.ran == ran
    trying.is_in_force("former" if code else trying.update.version)
    if code in ("E2003", "E2004"):
        is_told(machine, code, str(message))

"""Updates on trial over restarts, under each fault in each state: the new version or the former one, and it is told.

A fault strikes while a program of the package runs, before the restart, after it or on the way back, or while the
appliance is to go down.
"""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faultkit import Tally, ask, some
from rebootkit import Rebooting
from test_disk_full import Mount, fill, mount
from trialfaults import FAULTS
from updatecases import STATES, UpdateTrial

from jidoteki.testing import wait_until
from jidoteki.testing.fixtures import MakeHost

__all__ = ["mount"]

AT_ONCE = 3
REBOOT = "a restart of the system"
#: Faults that end the process of a job, so that no program of its package goes on as if nothing had been.
DEADLY = ("SIGKILL of the job", "SIGKILL of the job, twice", REBOOT, *(each for each in FAULTS if "power cut" in each))


def _strike(trial: UpdateTrial, id: str, fault: str) -> None:
    if fault == REBOOT:
        trial.go_under(id)
    else:
        FAULTS[fault](trial, id)


def _expected(state: str, fault: str) -> tuple[str, ...]:
    """Return how an update may end: with success, or by the code of its failure."""
    deadly = fault in DEADLY
    if state in ("rolling back", "going down again"):
        return ("E2003",)
    if state == "updating" and deadly:
        return ("E1002",)
    return ("E2003",) if deadly and state in ("verifying", "verifying again") else ("success",)


def _judge(trial: UpdateTrial, tally: Tally, named: str, id: str, expected: tuple[str, ...]) -> None:
    """Count whether an update ended as it may, with one version in force, and told."""
    record = trial.ended(id)
    ending = record["error_code"] or record["status"]
    tally.case(ending in expected, f"{named}: it ended as {record}")
    new = record["status"] == "success"
    tally.case(trial.rebooting.live == ("new" if new else "old"), f"{named}: something else is in force: {record}")
    told = ask(trial.host, "GET", "/version", trial.host.query("GET", "/version")[1:])
    version = "2.0.0" if new else "1.0.0"
    tally.case(told.status == 200 and json.loads(told.body) == {"version": version}, f"{named}: {told.body!r}")
    tally.case(trial.rebooting.reboots <= 2, f"{named}: {trial.rebooting.reboots} restarts")
    tally.case(trial.rebooting.ran.count("update") == 1, f"{named}: update.sh ran again")
    if ending in ("E2003", "E2004"):
        tally.case(wait_until(lambda: not list(trial.untold(id, record)), 10), f"{named}: it is not told")
    tally.case(wait_until(lambda: not trial.leftovers(), 10), f"{named}: it left {trial.leftovers()}")


def _try(trial: UpdateTrial, tally: Tally, state: str, fault: str) -> None:
    named = f"{state}, {fault}"
    id = trial.begin(STATES[state])
    _strike(trial, id, fault)
    trial.release(STATES[state])
    _judge(trial, tally, named, id, _expected(state, fault))


@pytest.mark.timeout(3000)
def test_each_fault_in_each_state_leaves_one_version(jidoteki_host: MakeHost, tally: Tally, tmp_path: Path) -> None:
    short = [("going down", "SIGKILL of the job"), ("going down again", REBOOT)]
    every = [f"{state}/{fault}" for state, fault in itertools.product(STATES, (*FAULTS, REBOOT))]
    cases = [each.split("/") for each in some(every, ("/".join(each) for each in short))]
    trials = [UpdateTrial(Rebooting(jidoteki_host), tmp_path) for _ in cases]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(_try, trial, tally, *case) for trial, case in zip(trials, cases, strict=True)]
    for case, each in zip(cases, running, strict=True):
        tally.case(each.exception() is None, f"{', '.join(case)}: {each.exception()!r}")

    assert tally.failed == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("state", some(STATES, ("verifying again",)))
@pytest.mark.parametrize("fault", some(("nothing", "a power cut", REBOOT), ("nothing",)))
def test_a_disk_that_fills_up_meanwhile_keeps_no_update_from_ending(
    jidoteki_host: MakeHost, tally: Tally, mount: Mount, tmp_path: Path, fault: str, state: str
) -> None:
    rebooting = Rebooting(jidoteki_host, before=lambda root: mount(root, 16), limits={"free-space": 0})
    trial = UpdateTrial(rebooting, tmp_path)
    id = trial.begin(STATES[state])
    ballast = fill(trial.host.appliance.root)

    _strike(trial, id, fault)
    trial.release(STATES[state])
    record = trial.ended(id)
    ballast.unlink()

    named = f"{state}, full, {fault}"
    tally.case(record["status"] != "running", f"{named}: it never ended")
    tally.case(trial.rebooting.reboots <= 2, f"{named}: {trial.rebooting.reboots} restarts")
    again = trial.rebooting.post(tmp_path, {"reboot": False}, version="3.0.0", update="")
    tally.case(trial.ended(again)["status"] == "success", f"{named}: nothing more works: {trial.record(again)}")
    assert tally.failed == []

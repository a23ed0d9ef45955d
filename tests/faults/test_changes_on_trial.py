"""Changes on trial, under each fault in each state: all is as it was, or was confirmed, and nobody is locked out.

A fault strikes while the vendor's script runs for the new state, while the change waits, while the confirmed one is
being kept, or while the script runs for the former state again.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from faultkit import Scaled, Tally, some
from injection import Injector, injected_host, points, ptrace_works
from test_disk_full import Mount, fill, mount
from trialcases import KINDS, Trial
from trialfaults import FAULTS

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

__all__ = ["mount"]

KILLED_AT = ("write", "fsync", "rename", "renameat2", "unlink", "symlinkat", "mkdir", "fchmod")
AT_ONCE = 3
#: Seconds that the processes of a job may take when each of their calls is watched.
PATIENCE = 120
BY_ANOTHER = "a confirmation by another client"
#: Longer than the answer to a confirmation waits for the end of its job.
PERSIST = ["sh", "-c", '[ ! -e "$JIDO_ADMIN_PATH/keep-slowly" ] || sleep 8']


def _strike(trial: Trial, id: str, fault: str) -> None:
    if fault == BY_ANOTHER:
        _ignored(trial.confirm("127.0.0.2"))
    else:
        FAULTS[fault](trial, id)


def _ignored(status: int) -> None:
    assert status in (200, 400)


def _changing(trial: Trial) -> str:
    trial.slow(1)
    id = trial.post().headers["Job-Id"]
    wait_until(lambda: trial.runs.read_text() == "run\n")
    return id


def _waiting(trial: Trial) -> str:
    id = trial.post().headers["Job-Id"]
    wait_until(lambda: trial.is_waiting(id))
    return id


def _kept(trial: Trial) -> str:
    id = _waiting(trial)
    trial.keep_slowly.touch()
    assert trial.confirm() == 200
    assert trial.record(id)["status"] == "running"
    return id


def _reverting(trial: Trial) -> str:
    trial.slow(2)
    id = _waiting(trial)
    trial.kill(id)
    wait_until(lambda: trial.runs.read_text() == "run\nrun\n")
    return id


STATES = {"changing": _changing, "waiting": _waiting, "kept": _kept, "reverting": _reverting}
SHORT = ("nothing", "SIGKILL of the job", "a power cut", BY_ANOTHER)


def _try(host: Host, tally: Tally, kind: str, state: str, fault: str) -> None:
    named = f"{kind}, {state}, {fault}"
    trial = Trial(host, kind)
    trial.prepare()
    old = trial.case.state(host)
    id = STATES[state](trial)
    _strike(trial, id, fault)
    record = trial.ended(id)
    stays = state == "kept" or (state == "waiting" and fault == BY_ANOTHER)
    now = trial.case.state(host)
    tally.case((now != old) if stays else (now == old), f"{named}: in the files is something else: {record}")
    tally.case(trial.is_in_force(now), f"{named}: something else is in force: {record}")
    tally.case(
        record["error_code"] != "E2001" if stays else record["error_code"] == "E2001", f"{named}: it ended as {record}"
    )
    tally.case(trial.request("GET", "/version").status == 200, f"{named}: the service is away")
    told = f"change.reverted,{chr(34)}{kind} E2001"
    audit = host.appliance.log / "jidoteki-audit.log"
    tally.case(stays or wait_until(lambda: told in audit.read_text(), 5), f"{named}: the audit log says nothing")
    told_health = b'"reverted"' in trial.request("GET", "/health").body
    tally.case(told_health != stays, f"{named}: /health tells otherwise")
    wait_until(lambda: not trial.leftovers(), 5)
    trial.keep_slowly.unlink(missing_ok=True)
    again = trial.post().headers["Job-Id"]
    wait_until(lambda: trial.is_waiting(again))
    tally.case(trial.confirm() == 200 and trial.ended(again)["status"] == "success", f"{named}: nothing more works")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_in_each_state_leaves_what_was_confirmed(jidoteki_host: MakeHost, tally: Tally, kind: str) -> None:
    cases = list(itertools.product(some(STATES, ("changing", "waiting")), some((*FAULTS, BY_ANOTHER), SHORT)))
    hosts = [jidoteki_host(commands={"persist": PERSIST}) for _ in cases]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [
            pool.submit(_try, host, tally, kind, state, fault)
            for host, (state, fault) in zip(hosts, cases, strict=True)
        ]
    for (state, fault), each in zip(cases, running, strict=True):
        tally.case(each.exception() is None, f"{kind}, {state}, {fault}: {each.exception()!r}")

    assert tally.failed == []


@pytest.mark.timeout(3000)
@pytest.mark.skipif(not ptrace_works(), reason="strace injects the faults")
@pytest.mark.parametrize("again", some(("once", "each time"), ("once",)))
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_step_leaves_what_was_confirmed(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, kind: str, again: str
) -> None:
    host = jidoteki_host()
    trial = Trial(host, kind)
    trial.prepare()
    host.stop()
    old = trial.case.state(host)
    injector = Injector(host)
    injected_host(host, injector)

    def whole_run() -> None:
        id = trial.post().headers["Job-Id"]
        wait_until(lambda: trial.is_waiting(id), PATIENCE)
        assert trial.confirm() == 200
        trial.ended(id)

    counts = injector.count(KILLED_AT, whole_run)
    new, in_force = trial.case.state(host), trial.live.read_bytes()
    was_in_force = next(content for path, content in old.items() if path.name in ("network.conf", "enterprise.crt"))
    killed = 0
    for call, nth in points(counts, scaled(8, 10_000)):
        trial.case.reset(old)
        trial.live.write_bytes(was_in_force or b"")
        injector.use(call, nth, "signal=KILL")
        if again == "once":
            injector.only_once()
        reply = trial.post()
        id = reply.headers["Job-Id"]
        wait_until(partial(trial.is_waiting, id), PATIENCE)
        confirmed = trial.record(id)["status"] == "running" and trial.confirm() == 200
        record = trial.ended(id)
        injector.nothing()
        killed += record["status"] == "failed"
        if not trial.is_recovered(id):
            host.stop(9)
            injected_host(host, injector)
            wait_until(partial(trial.is_recovered, id), PATIENCE)
            record = trial.ended(id)
        named = f"{kind} killed {again} at {call} {nth}, {'confirmed' if confirmed else 'not confirmed'}"
        tally.case(trial.case.state(host) == (new if confirmed else old), f"{named}: other files: {record}")
        tally.case(trial.live.read_bytes() == (in_force if confirmed else was_in_force), f"{named}: {record}")
        tally.case(trial.request("GET", "/version").status == 200, f"{named}: the service is away")

    assert killed > 0, "no job was killed: the injection does not work"
    assert tally.failed == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", some(("nothing", "SIGKILL of the job", "a power cut"), ("SIGKILL of the job",)))
def test_a_disk_that_fills_up_meanwhile_keeps_nothing_from_coming_back(
    jidoteki_host: MakeHost, tally: Tally, mount: Mount, fault: str, kind: str, confirmed: bool
) -> None:
    host = jidoteki_host(start=False, limits={"free-space": 0})
    mount(host.appliance.root, 16)
    host.start()
    trial = Trial(host, kind)
    trial.prepare()
    old = trial.case.state(host)
    id = trial.post().headers["Job-Id"]
    wait_until(lambda: trial.is_waiting(id))
    ballast: Path = fill(host.appliance.root)
    if confirmed:
        tally.case(trial.confirm() in (200, 503), f"{kind}, full, {fault}: the confirmation")
    is_new = confirmed and (host.appliance.jobs / f"{id}.trial").exists() is False

    _strike(trial, id, fault)
    record = trial.ended(id)

    now = trial.case.state(host)
    tally.case((now != old) if is_new else (now == old), f"{kind}, full, {fault}, {confirmed}: other files: {record}")
    tally.case(trial.request("GET", "/version").status == 200, f"{kind}, full, {fault}: the service is away")
    ballast.unlink()
    wait_until(lambda: not trial.leftovers(), 10)
    again = trial.post("").headers["Job-Id"]
    tally.case(trial.ended(again)["status"] in ("success",), f"{kind}, full, {fault}: nothing more works")
    assert tally.failed == []

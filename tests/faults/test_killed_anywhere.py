"""SIGKILL of a job at each write, fsync, rename and removal.

`strace` kills the process of the job when it makes the n-th call of a kind, before the call is carried out.
"""

from __future__ import annotations

import time

import pytest
from faultkit import Scaled, Tally, some
from injection import KILLED_AT, Injector, injected_host, points, ptrace_works
from jobcases import JOB_TYPES, case_of, records, start, temporaries, wait_for_end, wait_for_the_last

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = pytest.mark.skipif(not ptrace_works(), reason="strace injects the faults")


def _is_clean(host: Host) -> bool:
    """Whether nothing is left; what the new host itself is just writing does not count, it is gone a moment later."""
    try:
        return bool(wait_until(lambda: not temporaries(host.appliance), 5))
    except AssertionError:
        return False


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("job_type", some(JOB_TYPES, ("settings", "restore", "update")))
def test_a_job_killed_at_any_step_leaves_the_old_state_or_the_new_one(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, job_type: str
) -> None:
    case = case_of(job_type)
    host = jidoteki_host(start=False)
    case.prepare(host)
    injector = Injector(host)
    injected_host(host, injector)
    old = case.state(host)
    counts = injector.count(KILLED_AT, lambda: start(host, case), lambda: wait_for_end(host, job_type, 1))
    new = case.state(host)
    assert records(host, job_type)[0]["status"] == "success", records(host, job_type)

    slowest, killed = 0.0, 0
    for number, (call, nth) in enumerate(points(counts, scaled(3, 10_000)), start=2):
        case.reset(old)
        injector.use(call, nth, "signal=KILL")
        reply = start(host, case)
        record = wait_for_end(host, job_type, number)
        killed += record["status"] == "failed"
        whole = case.state(host) in (old, new)
        if scaled(0, 1):
            injector.nothing()
            host.stop(9)
            began = time.monotonic()
            injected_host(host, injector)
            slowest = max(slowest, time.monotonic() - began)
        tally.case(whole, f"{job_type} killed at {call} {nth}: torn")
        tally.case(case.state(host) in (old, new), f"{job_type} killed at {call} {nth}: torn after the next start")
        tally.case(reply.status < 500, f"{job_type} killed at {call} {nth}: {reply}")
        tally.case(record["status"] in ("failed", "success"), f"{job_type} killed at {call} {nth}: {record}")

    assert killed > 0, "no job was killed: the injection does not work"
    injector.nothing()
    host.stop(9)
    began = time.monotonic()
    injected_host(host, injector)
    slowest = max(slowest, time.monotonic() - began)
    tally.case(_is_clean(host), f"{job_type}: left behind {temporaries(host.appliance)}")
    case.reset(old)
    start(host, case)
    again = wait_for_the_last(host, job_type)
    tally.case(again["status"] == "success", f"{job_type}: {again}")
    tally.case(case.state(host) == new, f"{job_type}: the next one did not bring the new state")
    tally.figure("slowest start after a kill", f"{slowest:.1f} s")
    assert tally.failed == []

"""A full disk at each write of each job.

`strace` answers ENOSPC to the n-th write of a job and to all that follow.
"""

from __future__ import annotations

import pytest
from faultkit import Scaled, Tally, ask, some
from injection import Injector, injected_host, points, ptrace_works
from jobcases import JOB_TYPES, case_of, start, wait_for_end, wait_for_the_last

from jidoteki.testing.fixtures import MakeHost

pytestmark = pytest.mark.skipif(not ptrace_works(), reason="strace injects the faults")
READ = ("/version", "/update", "/endpoints", "/health", "/build", "/services")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("job_type", some(JOB_TYPES, ("settings", "update")))
def test_a_job_on_a_full_disk_fails_and_leaves_the_old_state(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, job_type: str
) -> None:
    case = case_of(job_type)
    host = jidoteki_host(start=False)
    case.prepare(host)
    injector = Injector(host)
    injected_host(host, injector)
    old = case.state(host)
    counts = injector.count(("write",), lambda: start(host, case), lambda: wait_for_end(host, job_type, 1))
    new = case.state(host)

    times = 0
    for number, (call, nth) in enumerate(points(counts, scaled(3, 10_000)), start=2):
        case.reset(old)
        injector.use(call, f"{nth}+", "error=ENOSPC")
        reply = start(host, case)
        record = wait_for_end(host, job_type, number)
        injector.nothing()
        statuses = {path: ask(host, "GET", path, host.query("GET", path)[1:]).status for path in READ}
        tally.case(case.state(host) in (old, new), f"{job_type} without space at write {nth}: torn")
        tally.case(reply.status < 500, f"{job_type} without space at write {nth}: {reply}")
        failed, struck = record["status"] == "failed", injector.has_struck()
        times += struck
        tally.case(failed == struck, f"{job_type} without space at write {nth}: {record}, injected: {struck}")
        tally.case(set(statuses.values()) == {200}, f"{job_type} without space at write {nth}: {statuses}")

    tally.case(times > 0, f"{job_type}: no write failed, the injection does not work")
    case.reset(old)
    start(host, case)
    again = wait_for_the_last(host, job_type)
    tally.case(again["status"] == "success", f"{job_type} with space again: {again}")
    tally.case(case.state(host) == new, f"{job_type} with space again: the new state did not come")
    assert tally.failed == []

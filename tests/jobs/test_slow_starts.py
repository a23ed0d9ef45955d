"""Jobs that start while the start of another one takes long, as on a slow machine."""

from __future__ import annotations

import fcntl
import os
import threading
import time

from jidoteki.testing import Answer, MakeHost, wait_until

#: Longer than a start usually takes, and than one was waited for.
SECONDS = 7
WAITING = 12


def test_jobs_wait_for_a_start_that_takes_long_and_others_are_served(jidoteki_host: MakeHost) -> None:
    """More requests wait than the service has threads for what may block."""
    host = jidoteki_host()
    lock = os.open(host.appliance.jobs / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    answers: list[Answer] = []
    asking = [
        threading.Thread(target=lambda: answers.append(host.post("/backup", "-F", "action=START")))
        for _ in range(WAITING)
    ]
    for each in asking:
        each.start()
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        began = time.monotonic()
        assert host.get("/jobs").status == 200
        assert time.monotonic() - began < 3
        time.sleep(0.2)
    os.close(lock)
    for each in asking:
        each.join(30)

    statuses = sorted(each.status for each in answers)
    assert statuses[0] == 202, [each.text for each in answers]
    assert {each.json["error-code"] for each in answers if each.status != 202} <= {"E1004"}
    wait_until(lambda: host.get("/backup").json["status"] == "success")

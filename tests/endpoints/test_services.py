"""What is told of services whose state nobody knows."""

from __future__ import annotations

import time

from jidoteki.testing.fixtures import MakeHost

FRESH = 3.0
"""Seconds for which the answer is kept."""


def test_a_status_script_that_cannot_run_is_told_once(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    etc = host.appliance.system_etc
    (etc / "allservices.txt").write_text("broken stopped\n")
    for name, content in {"broken": "#!/nowhere/sh\n", "stopped": "#!/bin/sh\necho stopped; exit 3\n"}.items():
        (etc / "init.d" / name).write_text(content)
        (etc / "init.d" / name).chmod(0o755)

    for _ in range(2):
        states = host.get("/services").json["services"]
        time.sleep(FRESH + 0.2)

    assert {"broken": "not running"} in states
    assert {"stopped": "not running"} in states
    log = (host.appliance.log / "jidoteki-admin-api.log").read_text()
    assert log.count("Whether broken runs cannot be found out") == 1
    assert "Whether stopped runs" not in log

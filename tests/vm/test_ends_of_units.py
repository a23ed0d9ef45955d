"""The ends of jobs that run as units: cancelled, out of time, and while the service is away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from guestkit import ADMIN, SERVICE, Guest

from jidoteki.testing import wait_until

CONFIGURATION = "/usr/local/etc/jidoteki-admin-api.json"
PLUGINS = "/usr/local/etc/plugins"
DROP_IN = "/etc/systemd/system/jidoteki-job@.service.d"
TYPES = "update settings storage certs persist reboot backup restore slow short"

PLUGIN = '''"""Jobs that take long."""

from jidoteki.hookspecs import Endpoint, JobType, hookimpl


def run(job):
    job.log("It begins")
    if not job.vendor_command("slow.sh"):
        raise RuntimeError


async def slow(request):
    return await request.start_job("slow")


async def short(request):
    return await request.start_job("short")


@hookimpl
def jidoteki_jobs(appliance):
    return [
        JobType("slow", run, timeout=1000, cancellable=True, privileged=True),
        JobType("short", run, timeout=3, privileged=True),
    ]


@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/slow", slow), Endpoint("POST", "/short", short)]
'''

#: Leaves processes in its session and out of it, which ignore SIGTERM.
SCRIPT = """#!/bin/sh
(trap '' TERM; setsid sleep 4711 & sleep 4712 &)
id -u >$JIDO_ADMIN_PATH/log/begun
{then}
"""


@pytest.fixture
def slow(guest: Guest) -> Iterator[Guest]:
    """A guest with jobs of root's that take long."""
    kept = guest.path(CONFIGURATION).read_text()
    content = json.loads(kept)
    content["plugin-directory"] = PLUGINS
    content["endpoints"] += ["slow", "short", "jobs"]
    guest.path(PLUGINS).mkdir()
    (guest.path(PLUGINS) / "slow.py").write_text(PLUGIN)
    guest.path(CONFIGURATION).write_text(json.dumps(content))
    guest.path(DROP_IN).mkdir()
    (guest.path(DROP_IN) / "types.conf").write_text(f'[Service]\nEnvironment="JIDOTEKI_JOB_TYPES={TYPES}"\n')
    guest.sh(f"systemctl daemon-reload; systemctl restart {SERVICE}")
    yield guest
    guest.path(CONFIGURATION).write_text(kept)
    guest.sh(
        f"systemctl stop 'jidoteki-job@*'; rm -rf {PLUGINS} {DROP_IN} {ADMIN}/bin/slow.sh; "
        f"systemctl daemon-reload; systemctl restart {SERVICE}"
    )


def begin(guest: Guest, path: str = "/slow", then: str = "sleep 4713") -> str:
    """Start a job, wait until its script runs, and return its id."""
    script = guest.path(f"{ADMIN}/bin/slow.sh")
    script.write_text(SCRIPT.replace("{then}", then))
    script.chmod(0o755)
    begun = guest.path(f"{ADMIN}/log/begun")
    begun.unlink(missing_ok=True)
    status, said = guest.request("POST", path, "-D", "/root/headers")
    assert status == 202, said
    wait_until(lambda: begun.exists() and begun.read_text() == "0\n")
    headers = guest.path("/root/headers").read_text()
    found = re.search("(?i)job-id: *([0-9a-z-]+)", headers)
    assert found, headers
    return found[1]


def ended(guest: Guest, id: str) -> dict[str, Any]:
    """Wait for the end of a job, of which nothing may live soon after, and return what is told of it."""
    told = guest.wait_for_job(f"/jobs/{id}")
    # A program that ignores SIGTERM gets SIGKILL after TimeoutStopSec.
    wait_until(lambda: guest.sh(f"systemctl is-active jidoteki-job@{id} || true").strip() == "inactive")
    assert guest.sh("pgrep -f 'sleep 471[123]' || true") == ""
    record = json.loads(guest.path(f"{ADMIN}/jobs/{id}.json").read_text())
    assert record["status"] == told["status"]
    return told


@pytest.mark.short
def test_a_cancelled_job_ends_with_all_that_it_started(slow: Guest) -> None:
    id = begin(slow)
    assert slow.sh("pgrep -f 'sleep 471[123]'").count("\n") == 3

    assert slow.request("POST", f"/jobs/{id}/cancel")[0] in (200, 202)

    assert ended(slow, id)["status"] == "cancelled"


def test_a_job_that_takes_too_long_ends_with_all_that_it_started(slow: Guest) -> None:
    told = ended(slow, begin(slow, "/short"))

    assert told["status"] == "failed"
    assert "too long" in str(told)


def test_systemd_ends_what_the_job_itself_does_not(slow: Guest) -> None:
    """The last limit, which no process of a job decides about; it counts as being stopped by somebody."""
    (slow.path(DROP_IN) / "limit.conf").write_text("[Service]\nRuntimeMaxSec=4\n")
    slow.sh("systemctl daemon-reload")

    told = ended(slow, begin(slow))

    assert told["status"] == "cancelled"


def kill_service(guest: Guest) -> None:
    before = guest.main_pid
    guest.run("kill", "-KILL", str(before))
    wait_until(lambda: guest.show("MainPID") not in ("0", str(before)))


def restart_service(guest: Guest) -> None:
    guest.run("systemctl", "restart", SERVICE)


@pytest.mark.parametrize("away", [kill_service, restart_service])
@pytest.mark.parametrize(("then", "status"), [("sleep 5; echo said", "success"), ("sleep 5; exit 3", "failed")])
def test_a_job_goes_on_without_the_service_and_its_end_is_told(slow: Guest, away: Any, then: str, status: str) -> None:
    id = begin(slow, then=then)

    away(slow)

    wait_until(lambda: slow.serves())
    told = ended(slow, id)
    assert told["status"] == status
    assert "exit status 3" in str(told) or status == "success"


def test_a_job_that_was_adopted_can_be_cancelled(slow: Guest) -> None:
    id = begin(slow)
    kill_service(slow)
    wait_until(lambda: slow.serves())
    assert slow.request("POST", "/slow")[0] == 400

    assert slow.request("POST", f"/jobs/{id}/cancel")[0] in (200, 202)

    assert ended(slow, id)["status"] == "cancelled"


def test_the_end_of_a_job_while_the_service_is_away_is_told(slow: Guest) -> None:
    id = begin(slow)
    slow.sh(f"systemctl stop {SERVICE}")
    assert slow.sh("pgrep -f 'sleep 4713'")
    slow.sh(f"systemctl kill --kill-whom=main --signal=KILL jidoteki-job@{id}")

    slow.sh(f"systemctl start {SERVICE}")

    told = ended(slow, id)
    assert (told["status"], bool(told["error-message"])) == ("failed", True)

"""Reboots of a whole machine by the API."""

from __future__ import annotations

import pytest
from machinekit import Machine


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_machine_reboots(machine: Machine, method: str) -> None:
    """By the unit of root's that runs the job: the service's user may not."""
    before = machine.restarts

    status, body = machine.request(method, "/reboot")

    assert status == 202, body
    machine.restarted(before)
    (last,) = machine.json("/jobs?type=reboot&limit=1")["jobs"]
    assert (last["type"], last["status"]) == ("reboot", "success")

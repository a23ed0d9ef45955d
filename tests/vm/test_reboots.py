"""Reboots of a whole machine by the API."""

from __future__ import annotations

import pytest
from machinekit import BOOT_TIMEOUT, Machine

from jidoteki.testing import wait_until

BOOT = "cat /proc/sys/kernel/random/boot_id"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_machine_reboots(machine: Machine, method: str) -> None:
    before = machine.sh(BOOT)

    status, body = machine.request(method, "/reboot")

    assert status == 202, body
    wait_until(lambda: machine.request("GET", "/version")[0] == 0, BOOT_TIMEOUT, 0.2)
    machine.wait_until_it_serves()
    assert machine.sh(BOOT) != before
    (last,) = machine.json("/jobs?type=reboot&limit=1")["jobs"]
    assert last["type"] == "reboot"

"""Requests beside all work: with the service as its unit runs it, and the jobs that need root in units of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import BuildUpdate
from guestkit import ADMIN, SERVICE, Guest
from loadkit import Appliance, Load, fill, large_update, load_of
from machinekit import Machine

#: Bytes of data in MiB; a machine that is emulated does in a second what another one does in a twentieth.
SIZE, EMULATED_SIZE = 256, 16
#: Milliseconds at the 99th percentile, and how often as long as at rest.
LIMIT, RATIO = 50, 5


@contextmanager
def busy(appliance: Appliance, size: int) -> Iterator[None]:
    """Give the jobs of an appliance much to do."""
    fill(appliance, size)
    try:
        yield
    finally:
        appliance.request("POST", "/backup", "-F", "action=STOP")
        appliance.sh(f"rm -rf /data/app {ADMIN}/log/large.log {ADMIN}/etc/logs.txt")


def say(name: str, load: Load, suite: str) -> None:
    """Print what was measured, for `docs/performance.md`."""
    print(f"\n{name}, {suite}: {load.busy:.0f} ms, at rest {load.at_rest:.1f} ms, beside {load.done}")


def test_a_guest_answers_in_time_while_all_works(suite: str, guest: Guest, build_update: BuildUpdate) -> None:
    """Measured in the guest's network, on the processors of this machine."""
    package = large_update(build_update, SIZE // 2)
    guest.path("/root/large.enc").write_bytes(package.read_bytes())

    with busy(guest, SIZE):
        load = load_of(guest, "127.0.0.1:8443", "/root/large.enc", guest.network)

    say("a guest", load, suite)
    assert all(load.done.values()), load
    assert load.busy < LIMIT, load


@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(
            100,
            id="usual share",
            marks=pytest.mark.xfail(
                reason="eight times as long: the jobs of root's have a share each, as the service has"
            ),
        ),
        pytest.param(1000, id="ten shares"),
    ],
)
def test_a_machine_answers_in_time_while_all_works(
    suite: str, machine: Machine, build_update: BuildUpdate, weight: int
) -> None:
    """Measured from outside; its kernel shares the processors among units, as docs/vendors.md says."""
    package = large_update(build_update, EMULATED_SIZE // 2)
    machine.sh(f"systemctl set-property --runtime {SERVICE} CPUWeight={weight}")

    with busy(machine, EMULATED_SIZE):
        load = load_of(machine, machine.address, str(package), seconds=60)

    say(f"an emulated machine with CPUWeight={weight}", load, suite)
    assert all(load.done.values()), load
    assert load.busy < RATIO * load.at_rest, load

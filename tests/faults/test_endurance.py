"""Many requests: memory and descriptors stay where they were."""

from __future__ import annotations

import contextlib
import gc

import pytest
from faultkit import Scaled, Tally, client_of, descriptors, is_open, resident, timed_get

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

MIB = 1024 * 1024
PATHS = ("/version", "/update", "/endpoints", "/build", "/settings", "/backup")


def ask_much(host: Host, number: int) -> set[int]:
    statuses: set[int] = set()
    with contextlib.closing(client_of(host)) as client:
        for count in range(number):
            statuses.add(timed_get(host, client, PATHS[count % len(PATHS)])[0])
    return statuses


@pytest.mark.timeout(3600)
def test_many_requests_leave_memory_and_descriptors_as_they_were(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled
) -> None:
    host = jidoteki_host(start=False).start("--http-port", "0")
    assert host.process
    pid = host.process.pid
    ask_much(host, scaled(500, 2000))
    # The one file that is opened late: with the first lines of a second.
    wait_until(lambda: is_open(pid, "jidoteki-access.log"))
    gc.collect()
    memory, files = resident(pid), descriptors(pid)

    number = scaled(1000, 100_000)
    statuses = ask_much(host, number)

    wait_until(lambda: descriptors(pid) <= files)
    more = resident(pid) - memory
    tally.cases += number - 1
    tally.figure(f"memory after {number:,} requests", f"{more / MIB:+.1f} MiB")
    tally.case(statuses <= {200, 404}, statuses)
    tally.case(more <= 10 * MIB, f"+{more // MIB} MiB")
    assert tally.failed == []


@pytest.mark.timeout(600)
def test_refused_requests_of_many_addresses_leave_memory_as_it_was(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled
) -> None:
    host = jidoteki_host(start=False).start("--http-port", "0")
    assert host.process
    memory = resident(host.process.pid)

    for number in range(scaled(100, 10_000)):
        with contextlib.closing(client_of(host, f"127.9.{number // 250}.{number % 250 + 1}")) as client:
            client.request("GET", f"{PREFIX}/version?token=wrong{number}")
            tally.case(client.getresponse().status == 403, number)

    more = resident(host.process.pid) - memory
    tally.case(more <= 16 * MIB, f"+{more // MIB} MiB")
    assert tally.failed == []

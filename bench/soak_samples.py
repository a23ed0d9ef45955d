"""What a soak watches of the service, and whether it stayed flat."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from bench.processes import pid_of
from jidoteki.testing import Host

MIB = 1024 * 1024
#: By how much the median of the last third may exceed that of the first: what varies with the work of the moment.
ALLOWED = {"memory": 6.0, "descriptors": 12.0, "threads": 4.0, "processes": 3.0, "temporary": 6.0}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the service.

    :param time: seconds since the beginning.
    :param memory: resident MiB.
    :param temporary: files that are not to stay, and work spaces of jobs.
    """

    time: float
    memory: float
    descriptors: float
    threads: float
    processes: float
    temporary: float

    def line(self) -> str:
        """For people who watch."""
        return "  ".join(f"{name} {getattr(self, name):.0f}" for name in self.__slots__)


def sample(host: Host, time: float) -> Sample:
    """Look at a running host."""
    process = psutil.Process(pid_of(host))
    admin = host.appliance.admin
    hidden = sum(1 for _ in admin.rglob(".jidoteki*"))
    work_spaces = sum(1 for _ in host.appliance.tmp.iterdir())
    packages = sum(1 for _ in host.appliance.uploads.glob("software_package-*"))
    return Sample(
        time,
        process.memory_info().rss / MIB,
        process.num_fds(),
        process.num_threads(),
        len(process.children(recursive=True)),
        hidden + work_spaces + packages,
    )


def verdicts(samples: Sequence[Sample]) -> list[str]:
    """What grew, as sentences."""
    third = max(1, len(samples) // 3)
    grown = []
    for name, allowed in ALLOWED.items():
        first, last = (
            statistics.median(getattr(each, name) for each in part) for part in (samples[:third], samples[-third:])
        )
        if last > first + allowed:
            grown.append(f"{name} grew from {first:.0f} to {last:.0f}")
    return grown

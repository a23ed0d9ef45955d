"""A share of the processors for a service and its jobs together, as systemd gives each unit that has a `CPUWeight=`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jidoteki.testing import wait_until

LEGACY = Path("/sys/fs/cgroup/cpu")
UNIFIED = Path("/sys/fs/cgroup")
JOINING = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')


@contextmanager
def cpu_group() -> Iterator[tuple[str, ...] | None]:
    """Make a control group with the usual share and remove it, once it is empty.

    :return: the command prefix that runs a program in it; None where there can be none.
    """
    try:
        group = _hierarchy() / f"jidoteki-bench-{os.getpid()}"
        group.mkdir()
    except OSError:
        yield None
        return
    members = group / "cgroup.procs"
    try:
        yield (*JOINING, str(members))
    finally:
        wait_until(lambda: not members.read_text(), 20)
        group.rmdir()


def _hierarchy() -> Path:
    if (LEGACY / "cgroup.procs").exists():
        return LEGACY
    if "cpu" in (UNIFIED / "cgroup.subtree_control").read_text().split():
        return UNIFIED
    raise OSError("the processors are not shared among control groups")

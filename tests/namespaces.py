"""Mounts that a test makes: as root; or for one process, as whoever may be root in a user namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jidoteki.hookspecs.mounts import mounts_below

Mount = Callable[..., Path]

#: Runs a program in namespaces of its own; further options of unshare(1) follow.
UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")


def _may_mount() -> bool:
    try:
        mounting = [*UNSHARE, "mount", "-t", "tmpfs", "none", "/proc"]
        return subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not _may_mount(), reason="this user may make no mounts, in no namespace either")


def mounted(script: str) -> tuple[str, ...]:
    """A prefix that runs a program with mounts of its own, made by a shell script first."""
    return (*UNSHARE, "sh", "-c", f'{script} && exec "$@"', "sh")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts something until the test ends, and makes its place."""

    def mount(place: Path, *arguments: str) -> Path:
        if not place.exists():
            place.mkdir(parents=True)
        command: list[str | Path] = ["mount", *(arguments or ("-t", "tmpfs", "-o", "size=1m", "tmpfs")), place]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs root, to mount something")
        return place

    yield mount
    for name in reversed(mounts_below(tmp_path)):
        subprocess.run(["umount", "-l", tmp_path / name], check=True)

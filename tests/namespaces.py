"""Mounts that a test makes for one process: as root, or as whoever may be root in a user namespace."""

from __future__ import annotations

import os
import subprocess

import pytest

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

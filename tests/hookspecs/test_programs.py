"""Programs that handlers and plugins run: bounded in time and output, and gone with all they started."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jidoteki.hookspecs import programs
from jidoteki.hookspecs.programs import ProgramError


def test_its_exit_status_and_output_are_returned() -> None:
    assert programs.read(["sh", "-c", "echo said; echo so >&2; exit 3"], timeout=10, limit=100) == (3, b"said\nso\n")


def test_it_has_a_minimal_environment() -> None:
    _, printed = programs.read(["env"], timeout=10, limit=10_000)

    names = {line.partition("=")[0] for line in printed.decode().splitlines()}
    assert names == {"PATH", "LANG", "HOME"}


def test_one_that_is_missing_is_named() -> None:
    with pytest.raises(ProgramError, match=r"no-such-program cannot be run"):
        programs.read(["/no-such-program"], timeout=10, limit=100)


def test_one_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    began = time.monotonic()

    with pytest.raises(ProgramError, match=r"sh did not end within 0\.5 seconds"):
        programs.read(["sh", "-c", script], timeout=0.5, limit=100)

    assert time.monotonic() - began < 10
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.02)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_that_prints_too_much_is_ended() -> None:
    with pytest.raises(ProgramError, match="yes printed more than 1000 bytes"):
        programs.read(["yes"], timeout=30, limit=1000)


def test_a_daemon_that_it_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()

    status, printed = programs.read(
        ["sh", "-c", f"sleep 30 & echo $! > {tmp_path}/pid; echo done"], timeout=20, limit=100
    )

    assert (status, printed) == (0, b"done\n")
    assert time.monotonic() - began < 10
    os.kill(int((tmp_path / "pid").read_text()), 9)

"""Jobs that are units of systemd, where that does not answer."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from jidoteki.core.jobs import units
from jidoteki.core.jobs.handover import RefusedError
from jidoteki.hookspecs import programs


@pytest.fixture
def hanging_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemctl that waits for an answer which never comes, as with a D-Bus that hangs."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\nexec sleep 60\n")
    systemctl.chmod(0o755)
    monkeypatch.setattr(programs, "environment", lambda: {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    monkeypatch.setattr(units, "ANSWER_TIMEOUT", 0.2)


@pytest.mark.usefixtures("hanging_systemd")
async def test_unit_has_ended_with_its_process_where_systemd_does_not_answer() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    run = units.UnitProcess("000001-update", process.pid)
    started = time.monotonic()

    await run.ended()
    run.wait()

    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("hanging_systemd")
def test_questions_to_systemd_end_soon() -> None:
    started = time.monotonic()

    for ask in (lambda: units.is_any_active("update"), units.require_start, lambda: units.properties("Id")):
        with pytest.raises(RefusedError, match=r"systemd does not answer within 0\.2 seconds"):
            ask()

    assert time.monotonic() - started < 10

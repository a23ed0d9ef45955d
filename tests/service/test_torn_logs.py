"""Logs that a power cut left with zero bytes at their ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jidoteki.core.files import torn_logs
from jidoteki.testing.fixtures import MakeHost


def test_a_log_is_whole_at_the_next_start(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    host.get("/logs")
    host.stop()
    torn = [*host.appliance.log.glob("*.log"), *host.appliance.jobs.glob("*.log")]
    whole = {path: path.read_bytes() for path in torn}
    for path, content in whole.items():
        path.write_bytes(content + bytes(100_000))

    host.start()
    host.get("/version")
    host.stop()

    assert len(torn) >= 4
    for path, content in whole.items():
        found = path.read_bytes()
        assert found.startswith(content)
        assert b"\0" not in found


@pytest.mark.parametrize("zeros", [1, 64 * 1024, 200_000])
@pytest.mark.parametrize("content", [b"", b"a line\n", b"a\0b\n" * 30_000])
def test_only_the_end_is_cut_off(tmp_path: Path, content: bytes, zeros: int) -> None:
    (tmp_path / "a.log").write_bytes(content + bytes(zeros))
    (tmp_path / "data").write_bytes(bytes(10))

    torn_logs.mend(tmp_path)

    assert (tmp_path / "a.log").read_bytes() == content
    assert (tmp_path / "data").stat().st_size == 10


def test_whatever_else_has_such_a_name_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(bytes(10))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/link.log").symlink_to(tmp_path / "outside")
    (tmp_path / "logs/directory.log").mkdir()
    os.mkfifo(tmp_path / "logs/pipe.log")

    torn_logs.mend(tmp_path / "logs")
    torn_logs.mend(tmp_path / "missing")

    assert (tmp_path / "outside").stat().st_size == 10

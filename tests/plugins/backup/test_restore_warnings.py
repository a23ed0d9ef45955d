"""A restore that leaves something out says so in its answer, not in a log alone."""

from __future__ import annotations

import tarfile
from pathlib import Path

from jidoteki.plugins.backup import restore_log
from jidoteki.testing import MakeHost


def archive(path: Path, source: Path, names: int) -> Path:
    with tarfile.open(path, "w") as tar:
        tar.add(source, "app")
        for number in range(names):
            tar.add(source, f"cache-{number}")
    return path


def test_what_a_restore_leaves_out_is_in_its_answer(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host(commands={"persist": ["/bin/sh", "-c", "echo '[1][SYSTEM] persisted'"]})
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a").write_text("a")

    part = archive(tmp_path / "part.tar", tmp_path / "files", 1)
    some = host.post("/backup/restore", "-F", f"archive=@{part}")
    whole = host.post("/backup/restore", "-F", f"archive=@{archive(tmp_path / 'whole.tar', tmp_path / 'files', 0)}")
    many = host.post("/backup/restore", "-F", f"archive=@{archive(tmp_path / 'many.tar', tmp_path / 'files', 150)}")

    left_out = "'cache-0' is left out: backup.txt does not list it"
    assert some.json == {"Status": "200 OK", "warnings": [left_out]}
    assert left_out in host.get("/backup/log").text
    assert whole.json == {"Status": "200 OK"}
    assert len(many.json["warnings"]) == restore_log.MAX_WARNINGS
    assert many.json["warnings"][-1] == "2 more, which GET /backup/log shows"


def test_lines_that_a_command_prints_are_no_warnings() -> None:
    log = "noise\n[1][LIVE IMAGE] Restoring backup archive to /data\n[1][LIVE IMAGE] Restore complete\n[1][X] more\n"

    assert restore_log.warnings(log) == restore_log.warnings(None) == []

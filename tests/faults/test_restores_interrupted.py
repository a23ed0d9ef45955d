"""Restores that are interrupted where it hurts: no room for the last note, a disk that comes late, kills."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from backupkit import Job, killed, restore

from jidoteki.hookspecs import JobError
from jidoteki.plugins.backup import renames, swapping
from jidoteki.plugins.backup.journal import Journal
from jidoteki.plugins.backup.kept_paths import Kept
from jidoteki.plugins.backup.left_out import MAX_SIZE, line, parse
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost


def archive_of(host: Host, to: Path) -> Path:
    host.post("/backup", "-F", "action=START")
    assert host.wait_for_job("/backup")["status"] == "success"
    to.write_bytes(host.get("/backup/download").body)
    return to


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    for name in ("a", "b"):
        (host.appliance.data / f"app/{name}").mkdir()
        (host.appliance.data / f"app/{name}/file").write_text("as backed up")
    return host


def files_of(host: Host) -> dict[str, str]:
    paths = {name: host.appliance.data / f"app/{name}/file" for name in ("a", "b")}
    return {name: path.read_text() if path.exists() else "" for name, path in paths.items()}


def write(host: Host, text: str) -> None:
    for name in ("a", "b"):
        (host.appliance.data / f"app/{name}/file").write_text(text)


def test_a_restore_succeeds_though_there_is_no_room_for_its_last_note(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = archive_of(host, tmp_path / "kept.tar")
    host.stop()
    write(host, "now")
    write_entry = Journal.write

    def full(journal: Journal, entry: object) -> object:
        if getattr(entry, "plan", None) is None and (host.appliance.jobs / f"{journal.id}.journal-plan").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_entry(journal, entry)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(Journal, "write", full)
    job = Job(host.appliance, kept, mode="exact")
    restore(job)
    write(host, "written since")
    swapping.finish_all(host.appliance, print)

    assert job.lines[-1] == "Restore complete"
    assert files_of(host) == {"a": "written since", "b": "written since"}
    assert list(host.appliance.data.glob(".jidoteki-*")) == []


def test_what_was_interrupted_is_completed_as_soon_as_its_disk_is_there(host: Host, tmp_path: Path) -> None:
    kept = archive_of(host, tmp_path / "kept.tar")
    host.stop()
    for when in range(1, 40):
        write(host, "now")
        assert killed(lambda: restore(Job(host.appliance, kept)), when, ("rename",))
        if sorted(files_of(host).values()) == ["as backed up", "now"]:
            break
        swapping.finish_all(host.appliance, print)
        swapping.remove_all(host.appliance, print)
    away = host.appliance.root / "unmounted"
    host.appliance.data.rename(away)
    host.start()
    away.rename(host.appliance.data)

    wait_until(lambda: files_of(host) == {"a": "as backed up", "b": "as backed up"})


def test_a_restore_that_is_killed_says_what_became_of_the_data(host: Host, tmp_path: Path) -> None:
    for number in range(1500):
        (host.appliance.data / f"app/{number}").mkdir()
        (host.appliance.data / f"app/{number}/file").write_text("as backed up")
    kept = archive_of(host, tmp_path / "kept.tar")
    for path in host.appliance.data.glob("app/*/file"):
        path.write_text("now")  # so that there is time to kill it between two renames
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(host.post, "/backup/restore", "-F", f"archive=@{kept}")
        wait_until(lambda: any(is_planned(path) for path in host.appliance.jobs.glob("*.journal")), 60, 0.001)
        record = json.loads(next(host.appliance.jobs.glob("*-restore.json")).read_text())
        os.kill(record["pid"], signal.SIGKILL)
        answer = asked.result(60)

    reason = "The job ended unexpectedly: it was killed, or the power failed"
    reason += f". All of the archive of {record['id']} is restored all the same"
    assert answer.json["Error-Message"] == reason
    assert files_of(host) == {"a": "as backed up", "b": "as backed up"}
    assert host.get(f"/jobs/{record['id']}").json["error-message"] == reason
    for log in (host.appliance.log / "update_backup.log", host.appliance.jobs / f"{record['id']}.log"):
        assert log.read_text().splitlines()[-1].endswith(reason)


def is_planned(journal: Path) -> bool:
    with suppress(OSError, ValueError):
        return json.loads(journal.read_text())["plan"] is not None
    return False


def refused(host: Host, kept: Path) -> None:
    with pytest.raises(JobError, match="was replaced meanwhile"):
        restore(Job(host.appliance, kept))


def test_a_directory_that_was_filled_meanwhile_is_kept_wherever_the_restore_is_killed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = host.appliance.data / "app/cache"
    cache.write_text("a file")
    kept = archive_of(host, tmp_path / "kept.tar")
    host.stop()
    make = renames.Renames.make

    def filled(self: renames.Renames, number: int, line: object) -> None:
        (cache / "precious").write_text("written meanwhile")
        make(self, number, line)  # type: ignore[arg-type]  # handed on as it came

    for when in range(1, 30):
        if cache.is_file():
            cache.unlink()
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        with monkeypatch.context() as patched:
            patched.setattr(renames.Renames, "make", filled)
            was_killed = killed(lambda: refused(host, kept), when, ("rename",))
        swapping.finish_all(host.appliance, print)
        swapping.remove_all(host.appliance, print)
        assert [path.read_text() for path in host.appliance.data.rglob("precious")] == ["written meanwhile"], when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


def test_a_directory_of_any_date_comes_back(host: Host, tmp_path: Path) -> None:
    os.utime(host.appliance.data / "app", ns=(0, 2**65))
    kept = archive_of(host, tmp_path / "kept.tar")
    write(host, "now")

    answer = host.post("/backup/restore", "-F", f"archive=@{kept}")

    assert answer.json == {"Status": "200 OK"}
    assert files_of(host) == {"a": "as backed up", "b": "as backed up"}
    assert list(host.appliance.jobs.glob("*journal*")) == []


def test_a_long_list_of_deep_paths_takes_little_memory() -> None:
    lines, size = [], 0
    for number in range(1 << 20):
        each = line(f"{number:x}/" + "/".join("a" * 255))
        size += len(each)
        if size > MAX_SIZE:
            break
        lines.append(each)

    kept = Kept(parse(b"".join(lines)), [], {})

    assert len(kept._above) < 200_000
    assert kept.at("") and kept.within("")  # nothing is removed at all

"""Backup and restore through curl on a real server, with tar and sha256sum as witnesses."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from backupkit import keep_busy
from pace import slowness

from jidoteki.core.appliance import Appliance
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

OWNER = (1234, 5678) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
Tree = dict[str, tuple[object, ...]]


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    fill(host.appliance)
    return host


def fill(appliance: Appliance) -> None:
    """Data of every kind that a backup keeps."""
    data = appliance.data
    (data / "db/deep/er").mkdir(parents=True)
    (data / "db/table").write_bytes(os.urandom(100_000))
    (data / "db/empty").touch()
    (data / "db/deep/er/ünïcödé name").write_text("x")
    (data / "db/deep/link").symlink_to("er")
    (data / "db/absolute").symlink_to(data / "db/table")
    (data / "db/dangling").symlink_to("nothing")
    (data / "db" / ("long-" * 30)).mkdir()
    (data / "db" / ("long-" * 30) / ("name-" * 40)).write_text("long")
    (data / "db/table").chmod(0o640)
    (data / "db/deep").chmod(0o2750)
    os.chown(data / "db/table", *OWNER)
    for path in data.rglob("*"):
        os.utime(path, ns=(1_500_000_000_000_000_000, 1_500_000_000_123_456_789), follow_symlinks=False)
    (data / "single").write_text("single file")
    (data / "other").write_text("not in the backup")
    appliance.replace_file(appliance.etc / "backup.txt", "# what to keep\ndb\n\nsingle\napp\nmissing\n")


def tree(root: Path) -> Tree:
    """Everything about what lies below a directory."""
    found: Tree = {}
    for path in root.rglob("*"):
        if path.name.startswith(".jidoteki-"):  # the service itself replaces a file at this moment
            continue
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        kind = (status.st_mode, status.st_uid, status.st_gid)
        found[str(path.relative_to(root))] = (*kind, None if path.is_dir() else status.st_mtime_ns, content)
    return found


def back_up(host: Host) -> dict[str, Any]:
    answer = host.post("/backup", "-F", "action=START")
    assert answer.status == 202, answer
    status: dict[str, Any] = host.wait_for_job("/backup")
    return status


def test_a_backup_of_the_reference(host: Host, tmp_path: Path) -> None:
    before = [host.get(path).status for path in ("/backup", "/backup/download", "/backup/log")]
    started = host.post("/backup", "-F", "action=start")
    status = host.wait_for_job("/backup")
    download = host.get("/backup/download")
    log = host.get("/backup/log")

    assert before == [404, 404, 404]
    assert started.json == {"Status": "202 Accepted", "Location": "/api/v1/admin/backup"}
    assert status["status"] == "success"
    shown = host.appliance.uploads / "backup.tar"
    assert status["filesize"] == subprocess.run(["du", "-ha", shown], capture_output=True, text=True).stdout.split()[0]
    assert status["sha256"] == hashlib.sha256(download.body).hexdigest()
    assert download.headers["Content-Disposition"] == 'attachment; filename="backup.tar"'
    (tmp_path / "backup.tar").write_bytes(download.body)
    summed = subprocess.run(["sha256sum", tmp_path / "backup.tar"], capture_output=True, text=True, check=True)
    assert summed.stdout.split()[0] == status["sha256"]
    assert log.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "[LIVE IMAGE] Validating backup file size" in log.text
    created = f"Created file: {shown} - size: {status['filesize']} - hash: {status['sha256']}"
    assert created in log.text.splitlines()
    assert status["missing"] == ["missing"]
    assert "missing is missing" in log.text


def test_tar_unpacks_the_same_tree(host: Host, tmp_path: Path) -> None:
    back_up(host)
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    (tmp_path / "out").mkdir()

    subprocess.run(["tar", "xpf", "../backup.tar"], cwd=tmp_path / "out", check=True)

    original = {name: value for name, value in tree(host.appliance.data).items() if name != "other"}
    assert tree(tmp_path / "out") == original


def test_a_restored_tree_equals_the_original(host: Host, tmp_path: Path) -> None:
    original = tree(host.appliance.data)
    back_up(host)
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    (host.appliance.data / "db/table").write_text("changed")
    (host.appliance.data / "db/new").write_text("new")
    (host.appliance.data / "single").unlink()

    answer = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar", "-F", "mode=exact")

    removed = {"files": 1, "paths": ["db/new"]}
    assert (answer.status, answer.json) == (200, {"Status": "200 OK", "removed": removed})
    assert tree(host.appliance.data) == original
    assert list(host.appliance.uploads.glob(".*")) == []


def test_a_tar_of_the_same_paths_made_elsewhere_is_restored(host: Host, tmp_path: Path) -> None:
    subprocess.run(
        ["tar", "c", "--format=posix", "-f", tmp_path / "backup.tar", "./db", "single"],
        cwd=host.appliance.data,
        check=True,
    )
    original = tree(host.appliance.data)
    (host.appliance.data / "db/table").unlink()

    answer = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar")

    assert answer.status == 200, answer
    assert tree(host.appliance.data) == original


def test_what_cannot_be_restored_is_left_out_and_named_where_that_is_allowed(host: Host, tmp_path: Path) -> None:
    host.configure(plugins={"backup": {"allow-incomplete": True}})
    host.reload()
    data = host.appliance.data
    os.mkfifo(data / "db/pipe")
    os.makedirs(data / ("db/deep/" + "d/" * 256))
    (data / "db/setuid").write_text("x")
    (data / "db/setuid").chmod(0o4755)

    status = back_up(host)
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    log = host.get("/backup/log").text
    restored = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar")

    assert (status["status"], [name[:10] for name in status["incomplete"]]) == ("success", ["db/deep/d/"])
    assert "db/pipe is left out" in log
    assert "/d is left out: it lies more than" in log
    assert "db/setuid loses its set-user-id" in log
    assert restored.status == 200
    assert (data / "db/setuid").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("action", ["", "BEGIN", "START; reboot"])
def test_another_action_is_refused(host: Host, action: str) -> None:
    answer = host.post("/backup", "--form-string", f"action={action}")

    assert (answer.status, answer.json["Error-Message"]) == (400, "action must be START or STOP")


def test_stop_deletes_the_backup_and_stop_with_nothing_is_fine(host: Host) -> None:
    back_up(host)

    stopped = host.post("/backup", "-F", "action=STOP")
    again = host.post("/backup", "-F", "action=stop")

    assert (stopped.status, again.status) == (202, 202)
    assert stopped.json == {"Status": "202 Accepted", "Location": "/api/v1/admin/backup"}
    assert [host.get(path).status for path in ("/backup", "/backup/download")] == [404, 404]
    assert [*host.appliance.uploads.iterdir(), *host.appliance.spool.iterdir()] == []
    assert host.get("/backup/log").text.count("Deleting backup archive") == 1


def test_stop_names_the_job_that_deleted_the_backup(host: Host) -> None:
    back_up(host)

    stopped = host.post("/backup", "-F", "action=STOP")

    job = host.get(f"/jobs/{stopped.headers['Job-Id']}").json
    assert (job["type"], job["status"]) == ("backup-delete", "success")
    assert "Job-Id" not in host.post("/backup", "-F", "action=STOP", query="dry-run=1").headers


def test_stop_clears_away_a_failure_too(host: Host) -> None:
    (host.appliance.etc / "backup.txt").unlink()
    failed = back_up(host)
    download = host.get("/backup/download")

    stopped = host.post("/backup", "-F", "action=STOP")

    assert (failed["status"], download.status) == ("failed", 404)
    assert "There is no backup.txt" in download.json["Error-Message"]
    assert (stopped.status, host.get("/backup").status) == (202, 404)


def test_stop_cancels_a_running_backup_within_a_second(host: Host) -> None:
    keep_busy(host.appliance.data / "db/huge")
    host.configure(limits={"free-space": 0})
    host.reload()
    host.post("/backup", "-F", "action=START")
    wait_until(lambda: list(host.appliance.spool.glob(".jidoteki-backup-*")))
    second = host.post("/backup", "-F", "action=START")
    running = host.get("/backup").json
    before = time.monotonic()

    stopped = host.post("/backup", "-F", "action=STOP")

    assert time.monotonic() - before < 2 * slowness()
    assert running == {"status": "running"}
    assert (second.status, second.json["Error-Message"]) == (400, "Backup is already running")
    assert stopped.status == 202
    assert host.get("/backup").status == 404
    assert [*host.appliance.uploads.iterdir(), *host.appliance.spool.iterdir()] == []


def test_no_room_fails_with_both_figures(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(limits={"free-space": 1 << 49})

    status = back_up(host)

    assert status["status"] == "failed"
    assert re.search(r"needs about \d+ bytes, but only 0 may be used", status["error-message"])


def test_a_backup_without_a_list_fails(host: Host) -> None:
    (host.appliance.etc / "backup.txt").unlink()

    assert back_up(host) == {
        "status": "failed",
        "error-message": "There is no backup.txt that says what belongs to a backup",
    }


def test_a_dry_run_of_a_restore_judges_and_changes_nothing(host: Host, tmp_path: Path) -> None:
    back_up(host)
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    (host.appliance.data / "single").write_text("changed")
    before = tree(host.appliance.data)

    good = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar", query="dry-run=1")
    bad = host.post("/backup/restore", "-F", "archive=@/etc/hostname;filename=x", query="dry-run=1")

    assert (good.status, good.json["Status"], good.json["dry-run"]) == (200, "200 OK", True)
    assert bad.status == 400
    assert tree(host.appliance.data) == before


def member(name: str, content: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def archive_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GOOD = member("db/table", b"replaced")
HOSTILE: dict[str, Callable[[], bytes]] = {
    "absolute": lambda: archive_of(GOOD, member("/etc/evil")),
    "parent": lambda: archive_of(GOOD, member("db/../../evil")),
    "unlisted": lambda: archive_of(member("other")),
    "link outside": lambda: archive_of(GOOD, member("db/l", b"", type=tarfile.SYMTYPE, linkname="../../..")),
    "absolute link": lambda: archive_of(GOOD, member("db/l", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "below a link": lambda: archive_of(
        GOOD, member("db/l", b"", type=tarfile.SYMTYPE, linkname="deep"), member("db/l/x")
    ),
    "hard link": lambda: archive_of(GOOD, member("db/h", b"", type=tarfile.LNKTYPE, linkname="../etc/passwd")),
    "device": lambda: archive_of(GOOD, member("db/d", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "setuid": lambda: archive_of(GOOD, member("db/s", mode=0o4755)),
    "twice": lambda: archive_of(GOOD, GOOD),
    "newline": lambda: archive_of(GOOD, member("db/a\nb")),
    "truncated": lambda: archive_of(GOOD, member("db/long", b"x" * 10_000))[:5000],
    "damaged header": lambda: archive_of(GOOD, member("db/z", b"")).replace(b"db/z", b"db/y"),
    "not tar": lambda: b"nonsense" * 1000,
    "gzip": lambda: b"\x1f\x8b" + b"0" * 1000,
    "empty": lambda: bytes(10240),
    "giant header": lambda: archive_of(GOOD, member("db/" + "x/" * 2_000_000)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_damaged_archive_changes_nothing(host: Host, tmp_path: Path, kind: str) -> None:
    (tmp_path / "backup.tar").write_bytes(HOSTILE[kind]())
    before = tree(host.appliance.root)

    answer = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar")

    assert answer.status == 400
    assert answer.json["Error-Message"]
    after = tree(host.appliance.root)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith("opt/jidoteki/tinyadmin/")} == set()
    assert not [name for name in changed if "/uploads/" in name or "/tmp/" in name]


def test_no_restore_during_a_backup_nor_the_other_way_round(host: Host, tmp_path: Path) -> None:
    keep_busy(host.appliance.data / "db/huge")
    host.configure(limits={"free-space": 0})
    host.reload()
    host.post("/backup", "-F", "action=START")

    answer = host.post("/backup/restore", "-F", "archive=@/etc/hostname")
    host.post("/backup", "-F", "action=STOP")

    assert (answer.status, answer.json["Error-Message"]) == (400, "Restore cannot start while backup is running")


def test_a_storm_of_starts_and_stops_mixes_nothing(host: Host) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: host.post("/backup", "-F", f"action={('START', 'STOP')[n % 2]}"), range(36)))

    assert {answer.status for answer in answers} <= {202, 400}
    host.post("/backup", "-F", "action=STOP")
    assert [*host.appliance.uploads.iterdir(), *host.appliance.spool.iterdir()] == []
    assert back_up(host)["status"] == "success"


@pytest.mark.parametrize("kind", ["backup", "restore"])
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_a_killed_job_leaves_the_data_whole_and_the_next_one_works(
    host: Host, tmp_path: Path, kind: str, delay: float
) -> None:
    back_up(host)
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    (host.appliance.data / "single").write_text("changed")
    changed = tree(host.appliance.data)
    restoring = ["/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar"]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(host.post, *(restoring if kind == "restore" else ["/backup", "-F", "action=START"]))
        path = wait_until(lambda: sorted(host.appliance.jobs.glob(f"*-{kind}.json"))[int(kind == "backup") :])[-1]
        pid = wait_until(lambda: json.loads(path.read_text())["pid"])
        time.sleep(delay)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_until(lambda: json.loads(path.read_text())["status"] != "running")

    after = tree(host.appliance.data)
    assert after == changed or (kind == "restore" and after["single"][-1] == b"single file")
    assert host.post(*restoring).status == 200
    assert (host.appliance.data / "single").read_text() == "single file"
    assert back_up(host)["status"] == "success"

"""Backup and restore at the level of their jobs: what a kill, a full disk or a hostile file leaves behind."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from backupkit import Job, back_up, kept, killed, listing, restore, tree, write
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.appliance import Appliance
from jidoteki.core.archives import unpacking
from jidoteki.hookspecs import JobError, mounts
from jidoteki.hookspecs.restorable import can_restore
from jidoteki.plugins.backup import archive_file, headers, jobs, packing, restoring, sizes, stored_backup
from jidoteki.plugins.backup.archive_file import CHUNK, Packed
from jidoteki.plugins.backup.archive_size import Count
from jidoteki.plugins.backup.packing import Progress
from jidoteki.plugins.backup.selection import Note, Other, Tree
from jidoteki.testing import wait_until


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    return made


def du(path: Path) -> str:
    return subprocess.run(["du", "-ha", path], capture_output=True, text=True, check=True).stdout.split()[0]


def names_in(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


# What is packed


def test_tar_lists_the_backup_and_sha256sum_agrees(appliance: Appliance) -> None:
    write(appliance.data / "db/a")
    write(appliance.data / "other")
    listing(appliance, "db")

    back_up(appliance)

    path = stored_backup.archive(appliance)
    listed = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True).stdout.split()
    summed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert listed == ["db/", "db/a"]
    assert stored_backup.status(appliance) == {"status": "success", "filesize": du(path), "sha256": summed}


def test_a_line_that_begins_with_a_slash_is_below_the_data_directory_too(appliance: Appliance) -> None:
    write(appliance.data / "db/a")
    listing(appliance, "/db/")

    back_up(appliance)

    assert names_in(stored_backup.archive(appliance)) == ["db", "db/a"]


@pytest.mark.parametrize("line", ["../etc", "db/../../etc", ".jidoteki-restore-1"])
def test_a_line_that_leads_elsewhere_fails_the_backup(appliance: Appliance, line: str) -> None:
    listing(appliance, line)

    with pytest.raises(JobError, match="not a path below the data directory"):
        back_up(appliance)


def test_a_line_that_leads_through_a_link_fails_the_backup(appliance: Appliance, tmp_path: Path) -> None:
    write(tmp_path / "outside/secret")
    (appliance.data / "link").symlink_to(tmp_path / "outside")
    listing(appliance, "link/secret")

    with pytest.raises(JobError, match="link, which is a symbolic link"):
        back_up(appliance)


def test_a_directory_that_becomes_a_link_while_the_tree_is_read_is_not_followed(
    appliance: Appliance, tmp_path: Path
) -> None:
    write(tmp_path / "outside/secret")
    (appliance.data / "db/sub").mkdir(parents=True)
    notes: list[str] = []

    names = []
    for found in Tree(appliance.data, ["db"], cast(Note, notes.append)):
        assert isinstance(found, Other)
        names.append(found.name)
        if found.name == "db/sub":
            (appliance.data / "db/sub").rmdir()
            (appliance.data / "db/sub").symlink_to(tmp_path / "outside")

    assert names == ["db", "db/sub"]
    assert notes == ["db/sub cannot be read: Not a directory"]


def test_what_cannot_be_restored_is_named_a_hundred_times_and_then_counted(appliance: Appliance) -> None:
    write(appliance.data / "db/plain")
    for number in range(150):
        os.mkfifo(appliance.data / f"db/pipe{number}")
    listing(appliance, "db")

    lines = back_up(appliance)

    assert sum("is left out: it is a named pipe" in line for line in lines) == 100
    assert "50 more lines like these are left out" in lines
    assert names_in(stored_backup.archive(appliance)) == ["db", "db/plain"]


def test_a_second_name_of_a_file_is_a_link_to_the_first(appliance: Appliance) -> None:
    os.link(write(appliance.data / "db/a"), appliance.data / "db/b")
    listing(appliance, "db")

    back_up(appliance)

    with tarfile.open(stored_backup.archive(appliance)) as tar:
        assert [each.type for each in tar] == [tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.LNKTYPE]


def test_a_file_that_shrinks_while_it_is_read_is_filled_up(appliance: Appliance) -> None:
    size = 3 * CHUNK
    (appliance.data / "shrinks").write_bytes(b"x" * size)
    (appliance.data / "zlast").write_text("last")
    listing(appliance, "shrinks", "zlast")

    class Shrinking(Job):
        def progress(self, percentage: int, *, final: bool = False) -> None:
            # First after a chunk, whether the length is known yet or not.
            os.truncate(appliance.data / "shrinks", CHUNK)

    job = Shrinking(appliance)
    jobs.back_up(job)

    with tarfile.open(stored_backup.archive(appliance)) as tar:
        content, last = (read_member(tar, name) for name in ("shrinks", "zlast"))
    assert content == b"x" * CHUNK + bytes(size - CHUNK)
    assert last == b"last"
    assert job.lines.count("shrinks became shorter while it was read and is filled up with zeros") == 1


def test_the_reserve_stays_free_even_when_the_data_grow_after_the_estimate(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (appliance.data / "db").write_bytes(bytes(CHUNK))
    listing(appliance, "db")
    monkeypatch.setattr(packing, "estimated", lambda tree: 1)
    job = Job(appliance)
    free = os.statvfs(appliance.spool)
    monkeypatch.setattr(os, "statvfs", lambda path: free)  # whatever else writes to this disk meanwhile
    job.host_config = {"limits": {"free-space": free.f_bavail * free.f_frsize - 100_000}}

    with pytest.raises(JobError, match=r"needs about \d+ bytes, but only \d+ may be used"):
        jobs.back_up(job)

    status = stored_backup.status(appliance)
    assert status and status["status"] == "failed"
    assert [path.name for path in appliance.uploads.iterdir()] == ["backup.json"]


def test_a_backup_that_can_be_downloaded_is_none_that_was_cancelled(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (appliance.data / "db").write_bytes(bytes(CHUNK))
    listing(appliance, "db")
    job, store = Job(appliance), stored_backup.store

    def cancelled(*arguments: Any) -> str:
        size = store(*arguments)
        job.cancelled = True
        return size

    monkeypatch.setattr(stored_backup, "store", cancelled)
    jobs.back_up(job)

    status = stored_backup.status(appliance)
    assert status and status["status"] == "success"


def test_a_full_disk_fails_the_backup_and_leaves_nothing_of_it(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (appliance.data / "db").write_bytes(bytes(20 * CHUNK))
    listing(appliance, "db")
    write_to_disk = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) >= CHUNK:
            raise OSError(28, "No space left on device")
        return write_to_disk(descriptor, content)

    monkeypatch.setattr(os, "write", full)

    with pytest.raises(JobError, match="the disk is full"):
        back_up(appliance)

    assert [path.name for path in appliance.uploads.iterdir()] == ["backup.json"]


def test_what_is_counted_beside_the_packing_ends_it_when_there_is_no_room(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (appliance.data / "db").write_bytes(bytes(20 * CHUNK))
    listing(appliance, "db")
    pack = packing.pack

    def pack_slowly(tree: Tree, into: archive_file.Sink, limit: int, note: Note, progress: Progress) -> Packed:
        def slowly(written: int) -> None:
            time.sleep(0.1)
            progress(written)

        return pack(tree, into, limit, note, slowly)

    monkeypatch.setattr(packing, "pack", pack_slowly)
    monkeypatch.setattr(packing, "estimated", lambda tree: 1 << 60)
    job = Job(appliance)

    with pytest.raises(JobError, match=f"needs about {1 << 60} bytes"):
        jobs.back_up(job)

    assert [path.name for path in appliance.uploads.iterdir()] == ["backup.json"]


def test_a_count_keeps_no_lock_and_ends_with_its_user(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = set(psutil.Process().children())

    def sleeping() -> int:
        time.sleep(60)
        return 1

    with Count(sleeping) as count:
        os.close(lock)

        wait_until(lambda: subprocess.run(["flock", "-n", tmp_path / "lock", "true"], check=False).returncode == 0)
        assert count.result() is None
        assert len(set(psutil.Process().children()) - before) == 1
    assert set(psutil.Process().children()) <= before


def test_a_backup_needs_no_count(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    write(appliance.data / "db")
    listing(appliance, "db")
    monkeypatch.setattr(os, "fork", failing(os.fork, 1))

    back_up(appliance)

    assert names_in(stored_backup.archive(appliance)) == ["db"]


@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("started", [0, 1])
def test_without_a_thread_there_is_no_backup(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, size: int, started: int
) -> None:
    (appliance.data / "db").write_bytes(bytes(size * CHUNK))
    listing(appliance, "db")
    monkeypatch.setattr(archive_file, "SYNC_EACH", CHUNK)
    start = threading.Thread.start
    left = iter(range(started))

    def start_some(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)

    with pytest.raises(JobError, match="can't start new thread"):
        back_up(appliance)

    assert [path.name for path in appliance.uploads.iterdir()] == ["backup.json"]


def test_a_count_that_fails_is_never_known_and_another_one_is() -> None:
    with Count(lambda: 1 // 0) as failed, Count(lambda: 123) as works:
        assert (failed.result(wait=True), failed.result()) == (None, None)
        assert (works.result(wait=True), works.result()) == (123, 123)


@pytest.mark.parametrize("size", [2, 20])
def test_an_error_that_the_disk_tells_once_fails_the_backup(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (appliance.data / "db").write_bytes(bytes(size * CHUNK))
    listing(appliance, "db")
    monkeypatch.setattr(archive_file, "SYNC_EACH", CHUNK)
    sync = os.fdatasync
    errors = iter([OSError(errno.EIO, "Input/output error")])

    def broken_once(descriptor: int) -> None:
        if os.fstat(descriptor).st_size and (error := next(errors, None)):
            raise error
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", broken_once)

    with pytest.raises(JobError, match="Input/output error"):
        back_up(appliance)

    assert [path.name for path in appliance.uploads.iterdir()] == ["backup.json"]


ASCII = st.text(st.characters(max_codepoint=127, exclude_characters="\0/"), min_size=1, max_size=120)
UNICODE = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120)
NAME = (ASCII | UNICODE).filter(lambda name: name not in (".", ".."))
ID = st.integers(0, 2**22) | st.integers(0, 2**32 - 1)


@given(
    name=NAME,
    mode=st.integers(0, 0o1777) | st.integers(0, 0o7777),
    uid=ID,
    gid=ID,
    size=st.integers(0, 2**34) | st.integers(0, 2**40),
    mtime=st.integers(0, 2**61) | st.integers(-(2**62), 2**62),
)
def test_a_quick_header_is_what_tarfile_makes_and_what_can_be_restored(
    name: str, mode: int, uid: int, gid: int, size: int, mtime: int
) -> None:
    whole = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, size, 0, mtime // 10**9, 0), {"st_mtime_ns": mtime})

    quick = headers.plain(name, whole)

    info = headers.describe(name, whole)
    parsed = tarfile.TarInfo.fromtarfile(as_tar(quick or headers.header(info)))
    assert (parsed.name, parsed.mode, parsed.uid, parsed.gid, parsed.size) == (name, mode, uid, gid, size)
    assert quick is None or can_restore(name, parsed, None) is None
    assert quick is None or unpacking._nanoseconds(parsed) == mtime


@given(name=ASCII.filter(lambda name: name not in (".", "..")))
def test_no_quick_header_is_made_for_a_name_that_cannot_be_restored(name: str) -> None:
    ordinary = os.stat_result((stat.S_IFREG | 0o644, 1, 1, 1, 0, 0, 5, 0, 10**9, 0), {"st_mtime_ns": 10**18 + 1})

    quick = headers.plain(name, ordinary)

    assert quick is None or can_restore(name, headers.describe(name, ordinary), None) is None


def as_tar(header: bytes) -> tarfile.TarFile:
    tar = tarfile.TarFile(fileobj=io.BytesIO(bytes(1024)), encoding="utf-8", errors="surrogateescape")
    tar.fileobj = io.BytesIO(header + bytes(1024))
    return tar


@given(st.integers(0, 2**42) | st.integers(0, 2**24) | st.integers(0, 40).map(lambda power: 2**power - 1))
def test_sizes_look_like_those_of_du(size: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size)
        command = ["du", "-ha", "--apparent-size", file.name]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]

    assert sizes.human_size(size) == shown


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000, 3_000_000])
def test_the_size_that_is_told_is_that_of_the_blocks(appliance: Appliance, size: int) -> None:
    (appliance.data / "db").write_bytes(os.urandom(size))
    listing(appliance, "db")

    [created] = [line for line in back_up(appliance) if line.startswith("Created file: ")]

    shown = du(appliance.uploads / "backup.tar")
    status = stored_backup.status(appliance)
    assert status
    assert status["filesize"] == du(stored_backup.archive(appliance)) == shown
    assert created == (f"Created file: {appliance.uploads}/backup.tar - size: {shown} - hash: {status['sha256']}")


# What a killed backup leaves


def test_a_killed_backup_reads_failed_and_takes_no_space(appliance: Appliance) -> None:
    (appliance.spool / f"{stored_backup.PARTIAL}1").write_bytes(b"partial")

    jobs.recover(appliance)

    assert stored_backup.status(appliance) == {"status": "failed", "error-message": jobs.INTERRUPTED}
    assert not [*appliance.uploads.glob(".*"), *appliance.spool.glob(".*")]


def test_recovery_touches_neither_a_complete_backup_nor_one_that_is_being_written(appliance: Appliance) -> None:
    write(appliance.data / "db")
    listing(appliance, "db")
    back_up(appliance)
    before = stored_backup.status(appliance)
    busy = appliance.spool / f"{stored_backup.PARTIAL}1"
    with busy.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        jobs.recover(appliance)

        assert busy.exists()
    assert stored_backup.status(appliance) == before


@pytest.mark.parametrize("when", range(1, 12))
def test_a_backup_killed_at_any_step_is_complete_or_gone(appliance: Appliance, when: int) -> None:
    write(appliance.data / "db/a")
    listing(appliance, "db")
    back_up(appliance)
    write(appliance.data / "db/a", "other content")

    killed(lambda: back_up(appliance), when)
    appliance.recover()
    jobs.recover(appliance)

    path = stored_backup.archive(appliance)
    status = stored_backup.status(appliance) or {}
    for directory in (appliance.uploads, appliance.spool):
        assert {each.name for each in directory.iterdir()} <= {"backup.tar", "backup.json"}
    assert (status["status"] == "success") == path.exists()
    assert status.get("sha256") == (hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None)


OWNER = (1234, 5678) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
OLD = {"one/file": "old", "two/file": "old", "deep/x/file": "old", "stays": "old"}
MODES = ["merge", "exact"]
NEW = {"one/file": "new", "two/file": "new", "deep/x/file": "new", "fresh/y/file": "new", "stays": "old"}


@pytest.fixture
def restorable(appliance: Appliance, tmp_path: Path) -> Path:
    """An appliance with the old data, and a backup of the new ones."""
    listing(appliance, "one", "two", "deep/x", "fresh/y")
    for name, content in NEW.items():
        write(appliance.data / name, content)
    path = kept(appliance, tmp_path)
    for name in ("one", "two", "deep", "fresh"):
        subprocess.run(["rm", "-r", appliance.data / name], check=True)
    for name, content in OLD.items():
        write(appliance.data / name, content)
    return path


def contents(appliance: Appliance) -> dict[str, str]:
    return {str(path.relative_to(appliance.data)): path.read_text() for path in files_of(appliance)}


def contents_of_targets(appliance: Appliance) -> dict[str, str]:
    return {name: text for name, text in contents(appliance).items() if not name.startswith(".")}


def the_journal(appliance: Appliance) -> Path:
    [path] = appliance.jobs.glob("*.journal")
    return path


def files_of(appliance: Appliance) -> Iterator[Path]:
    return (path for path in appliance.data.rglob("*") if path.is_file())


# The last of these steps lies behind the end of the restore.
@pytest.mark.parametrize("when", range(1, 80))
@pytest.mark.parametrize("mode", MODES)
def test_a_restore_killed_at_any_step_is_whole_or_has_not_happened(
    appliance: Appliance, restorable: Path, when: int, mode: str
) -> None:
    killed(lambda: restore(Job(appliance, restorable, mode=mode)), when)
    restoring.recover(appliance)

    assert contents(appliance) in (OLD, NEW)
    assert not [*appliance.data.glob(".*"), *appliance.jobs.glob("*journal*")]


@pytest.mark.parametrize("mode", MODES)
def test_the_kills_reach_from_the_first_step_to_behind_the_last(
    appliance: Appliance, restorable: Path, mode: str
) -> None:
    first = killed(lambda: restore(Job(appliance, restorable, mode=mode)), 1)
    restoring.recover(appliance)
    last = killed(lambda: restore(Job(appliance, restorable, mode=mode)), 79)

    assert (first, last) == (True, False)
    assert contents(appliance) == NEW


@pytest.mark.parametrize("when", range(1, 8))
@pytest.mark.parametrize("mode", MODES)
def test_a_rename_that_is_impossible_takes_back_those_before_it(
    appliance: Appliance, restorable: Path, when: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(appliance.data)
    job = Job(appliance, restorable, mode=mode)
    restoring.check(job)
    monkeypatch.setattr(os, "rename", failing(os.rename, when))

    with pytest.raises(JobError, match="The restore failed: Input/output error"):
        restoring.restore(job)

    after = tree(appliance.data)
    assert {name: value[-1] for name, value in after.items()} == {name: value[-1] for name, value in before.items()}


def read_member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file
    return file.read()


def failing(function: Callable[..., object], when: int) -> Callable[..., None]:
    """A function that fails the n-th time it is called."""
    calls = 0

    def call(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == when:
            raise OSError(5, "Input/output error")
        function(*arguments, **options)

    return call


def test_what_can_neither_be_completed_nor_taken_back_is_kept_for_later_and_stops_a_backup(
    appliance: Appliance, restorable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(lambda: restore(Job(appliance, restorable)), 2, ("rename",))
    assert json.loads(the_journal(appliance).read_text())["plan"]

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing_always)
        with pytest.raises(JobError, match="The backup failed"):
            back_up(appliance)
    restoring.recover(appliance)

    assert contents(appliance) == OLD  # what was to be taken back is not completed later


def failing_always(*arguments: object, **options: object) -> None:
    raise OSError(1, "Operation not permitted")


def test_what_another_program_makes_in_a_place_that_is_being_swapped_goes_away(
    appliance: Appliance, restorable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(appliance, restorable, mode="exact")
    restoring.check(job)
    rename = os.rename

    def busy(source: str, place: str, **directories: int) -> None:
        rename(source, place, **directories)
        if (source, place) == ("two", "two") and not (appliance.data / "two").exists():
            write(appliance.data / "two/file", "stray")

    monkeypatch.setattr(os, "rename", busy)
    restoring.restore(job)

    assert contents(appliance) == NEW


# What a restore replaces


def test_a_restore_into_an_empty_data_directory_brings_the_directories_above_too(
    appliance: Appliance, tmp_path: Path
) -> None:
    write(appliance.data / "deep/x/file")
    (appliance.data / "deep").chmod(0o2750)
    os.chown(appliance.data / "deep", *OWNER)
    listing(appliance, "deep/x")
    path = kept(appliance, tmp_path)
    before = tree(appliance.data)
    subprocess.run(["rm", "-r", appliance.data], check=True)

    restore(Job(appliance, path))

    assert tree(appliance.data) == before
    assert stat.S_IMODE(appliance.data.stat().st_mode) == 0o755


def test_an_exact_restore_replaces_a_path_that_the_archive_holds_as_a_whole_and_leaves_another_one(
    appliance: Appliance, tmp_path: Path
) -> None:
    write(appliance.data / "one/file")
    listing(appliance, "one", "two")
    path = kept(appliance, tmp_path)
    write(appliance.data / "one/later")
    write(appliance.data / "two/later")

    restore(Job(appliance, path, mode="exact"))

    assert contents(appliance) == {"one/file": "content", "two/later": "content"}


def test_an_exact_restore_of_everything_removes_what_the_archive_lacks(appliance: Appliance, tmp_path: Path) -> None:
    write(appliance.data / "one/file")
    write(appliance.data / "two")
    listing(appliance, ".")
    path = kept(appliance, tmp_path)
    write(appliance.data / "three/later")

    restore(Job(appliance, path, mode="exact"))

    assert contents(appliance) == {"one/file": "content", "two": "content"}


def test_without_a_list_nothing_is_restored(appliance: Appliance, restorable: Path) -> None:
    (appliance.etc / "backup.txt").unlink()

    with pytest.raises(JobError, match=r"There is no backup\.txt"):
        restore(Job(appliance, restorable))

    assert contents(appliance) == OLD


def test_what_is_not_listed_any_more_is_left_out_and_named(appliance: Appliance, restorable: Path) -> None:
    listing(appliance, "one", "two", "fresh")
    job = Job(appliance, restorable)

    restore(job)

    assert contents(appliance) == {**NEW, "deep/x/file": "old"}
    assert "'deep' is left out: backup.txt does not list it" in job.lines
    assert not list(appliance.data.glob(".*"))


def test_beside_what_is_not_listed_any_more_nothing_else_of_its_directory_is_lost(
    appliance: Appliance, restorable: Path
) -> None:
    listing(appliance, "deep/x/file", "fresh/other", "fresh/y/file")
    write(appliance.data / "deep/x/own")
    job = Job(appliance, restorable)

    restore(job)

    assert contents(appliance) == {**OLD, "deep/x/file": "new", "deep/x/own": "content", "fresh/y/file": "new"}
    assert job.lines[1:3] == [f"'{name}' is left out: backup.txt does not list it" for name in ("one", "two")] or (
        job.lines[1:3] == [f"'{name}' is left out: backup.txt does not list it" for name in ("two", "one")]
    )


def test_an_archive_of_other_paths_is_refused(appliance: Appliance, restorable: Path) -> None:
    listing(appliance, "other", "deep/other")

    with pytest.raises(JobError, match="The archive holds nothing that belongs to a backup of this appliance"):
        restore(Job(appliance, restorable))

    assert contents(appliance) == OLD
    assert not list(appliance.data.glob(".*"))


def test_nothing_is_restored_below_a_link(appliance: Appliance, restorable: Path, tmp_path: Path) -> None:
    subprocess.run(["mv", appliance.data / "deep", tmp_path / "elsewhere"], check=True)
    (appliance.data / "deep").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(JobError, match="deep is no directory"):
        restore(Job(appliance, restorable))

    assert (tmp_path / "elsewhere/x/file").read_text() == "old"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mount", ["one/file", "deep/x/file"])
def test_nothing_takes_the_place_of_a_mount_point(
    appliance: Appliance, restorable: Path, mount: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = str(appliance.data.resolve() / mount).replace(" ", r"\040")
    monkeypatch.setattr(mounts, "MOUNTS", write(tmp_path / "mountinfo", f"36 35 98:0 / {point} rw - ext4 /dev/x rw\n"))

    with pytest.raises(JobError, match=f"another file system is mounted at {mount}"):
        restore(Job(appliance, restorable, mode=mode))

    assert contents(appliance) == OLD


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000, bytes(10240)])
def test_a_damaged_archive_changes_nothing(appliance: Appliance, restorable: Path, content: bytes) -> None:
    restorable.write_bytes(content)
    before = tree(appliance.data)

    with pytest.raises(JobError):
        restore(Job(appliance, restorable))

    assert tree(appliance.data) == before


def test_a_missing_archive_changes_nothing(appliance: Appliance, restorable: Path) -> None:
    restorable.unlink()

    with pytest.raises(JobError, match="cannot be unpacked: No such file"):
        restore(Job(appliance, restorable))

    assert contents(appliance) == OLD


# Several at once


def test_a_dry_run_leaves_a_running_restore_alone(appliance: Appliance, restorable: Path) -> None:
    running = Job(appliance, restorable)
    restoring.check(running)

    restoring.check(Job(appliance, restorable, dry_run=True))
    restoring.recover(appliance)
    restoring.restore(running)

    assert contents(appliance) == NEW
    assert not list(appliance.data.glob(".*"))


def test_a_backup_completes_a_killed_restore_before_it_packs(appliance: Appliance, restorable: Path) -> None:
    killed(lambda: restore(Job(appliance, restorable)), 1, ("rename",))
    assert contents_of_targets(appliance) == OLD

    back_up(appliance)

    with tarfile.open(stored_backup.archive(appliance)) as tar:
        assert read_member(tar, "one/file") == b"new"

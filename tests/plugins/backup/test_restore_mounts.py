"""Restores onto file systems that are mounted below the data directory: each is put in place where it lies."""

from __future__ import annotations

import os
import resource
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backupkit import Job, kept, killed, kills, listing, restore, write
from namespaces import Mount

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError
from jidoteki.plugins.backup import renames, restoring, swapping
from jidoteki.plugins.backup.journal import Journal
from jidoteki.testing.fixtures import MakeHost

MODES = ["merge", "exact"]
NAMES = ("app/file", "app/media/film", "app/media/deep/film", "app/media/inner/film")


@pytest.fixture
def appliance(tmp_path: Path, mount: Mount) -> Appliance:
    """One with two disks, one mounted on the other; and an archive of it in `kept.tar`, made before all changed."""
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    listing(made, "app")
    mount(made.data / "app/media")
    mount(made.data / "app/media/inner")
    (made.data / "app/media").chmod(0o2750)
    os.chown(made.data / "app/media", 7, 8)
    for name in NAMES:
        write(made.data / name, "as packed")
    kept(made, tmp_path)
    (made.data / "app/media").chmod(0o700)
    os.chown(made.data / "app/media", 0, 0)
    for name in (*NAMES, "app/own", "app/media/own", "app/media/deep/own"):
        write(made.data / name, "now")
    return made


PACKED = dict.fromkeys(NAMES, "as packed")
OWN = {"app/own": "now", "app/media/own": "now", "app/media/deep/own": "now"}
NOW = {**dict.fromkeys(NAMES, "now"), **OWN}


def contents(appliance: Appliance) -> dict[str, str]:
    data = appliance.data
    return {str(path.relative_to(data)): path.read_text() for path in data.rglob("*") if path.is_file()}


def left_over(appliance: Appliance) -> list[Path]:
    return [*appliance.data.rglob(".jidoteki-*"), *appliance.jobs.glob("*journal*")]


@pytest.mark.parametrize("mode", MODES)
def test_what_lies_on_other_disks_is_restored_there(appliance: Appliance, tmp_path: Path, mode: str) -> None:
    restore(Job(appliance, tmp_path / "kept.tar", mode=mode))

    # Of a disk, which may have been absent when the backup was made, an exact restore removes nothing either.
    stays = {name: text for name, text in OWN.items() if mode == "merge" or "media" in name}
    assert contents(appliance) == {**PACKED, **stays}
    status = (appliance.data / "app/media").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o2750, 7, 8)
    assert not left_over(appliance)


def test_a_directory_of_the_same_disk_that_is_mounted_once_more_is_restored(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    mount(appliance.data / "app/bound", "--bind", str(write(tmp_path / "elsewhere/file", "as packed").parent))
    archive = kept(appliance, tmp_path)
    write(tmp_path / "elsewhere/file", "changed")

    restore(Job(appliance, archive))

    assert (tmp_path / "elsewhere/file").read_text() == "as packed"
    assert os.listdir(tmp_path / "elsewhere") == ["file"]


def test_the_listed_directory_may_be_a_disk_itself(appliance: Appliance, tmp_path: Path) -> None:
    listing(appliance, "app/media/inner", "app/media/deep")
    job = Job(appliance, tmp_path / "kept.tar")

    restore(job)

    still = dict.fromkeys(("app/file", "app/media/film"), "now")
    assert contents(appliance) == {**PACKED, **still, **OWN}
    assert "'app/media/film' is left out: backup.txt does not list it" in job.lines
    assert not left_over(appliance)


def test_a_disk_of_which_nothing_is_listed_any_more_is_left_alone(appliance: Appliance, tmp_path: Path) -> None:
    listing(appliance, "app/file", "app/media/other")
    job = Job(appliance, tmp_path / "kept.tar")

    restore(job)

    assert contents(appliance) == {**NOW, "app/file": "as packed"}
    assert "'app/media/inner' is left out: backup.txt does not list it" in job.lines
    assert not left_over(appliance)


@pytest.mark.parametrize("same", [True, False])
def test_a_disk_that_takes_nothing_is_no_hindrance_if_nothing_on_it_changed(
    appliance: Appliance, tmp_path: Path, same: bool
) -> None:
    inner = appliance.data / "app/media/inner"
    if same:
        write(inner / "film", "as packed")
    subprocess.run(["mount", "-o", "remount,ro", inner], check=True)

    if same:
        restore(Job(appliance, tmp_path / "kept.tar"))
    else:
        refused = r"'app/media/inner' cannot be restored: another file system is mounted at app/media/inner \(Read-only"
        with pytest.raises(JobError, match=refused):
            restore(Job(appliance, tmp_path / "kept.tar"))

    assert contents(appliance) == ({**PACKED, **OWN} if same else NOW)
    assert not left_over(appliance)


def test_an_archive_for_which_a_disk_has_no_room_is_refused(appliance: Appliance, tmp_path: Path) -> None:
    write(appliance.data / "app/media/large", "x" * 600_000)
    archive = kept(appliance, tmp_path)
    before = contents(appliance)

    with pytest.raises(JobError, match="'app/media/large' finds no room on the file system that is mounted where"):
        restore(Job(appliance, archive))

    assert contents(appliance) == before
    assert not left_over(appliance)


def test_hard_links_on_a_disk_are_restored(appliance: Appliance, tmp_path: Path) -> None:
    media = appliance.data / "app/media"
    os.link(media / "film", media / "again")
    subprocess.run(["tar", "-C", appliance.data, "-cf", tmp_path / "a.tar", "app"], check=True)
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert any(member.islnk() for member in tar)
    (media / "again").unlink()

    restore(Job(appliance, tmp_path / "a.tar"))

    assert (media / "again").stat().st_ino == (media / "film").stat().st_ino


def fails_at_last(self: renames.Renames, number: int, line: object) -> None:
    MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came
    if getattr(line, "directory", "") == "app":
        raise OSError(5, "Input/output error")


MAKE = renames.Renames.make


def refused(appliance: Appliance, archive: Path) -> None:
    with pytest.raises(JobError, match="The restore failed: Input/output error"):
        restore(Job(appliance, archive))


def test_all_disks_are_as_they_were_when_something_is_impossible(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renames.Renames, "make", fails_at_last)

    refused(appliance, tmp_path / "kept.tar")

    assert contents(appliance) == NOW
    assert not left_over(appliance)


@pytest.mark.parametrize("taken_back", [False, True])
def test_a_restore_that_is_killed_at_any_step_is_made_on_all_disks_or_on_none(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    archive = tmp_path / "kept.tar"
    for when in kills(300):
        for name in (*NAMES, *OWN):
            write(appliance.data / name, "now")
        with monkeypatch.context() as patched:
            if taken_back:
                patched.setattr(renames.Renames, "make", fails_at_last)
            restoring = refused if taken_back else lambda appliance, archive: restore(Job(appliance, archive))
            was_killed = killed(lambda: restoring(appliance, archive), when)  # noqa: B023 - called at once
        swapping.finish_all(appliance, print)
        swapping.remove_all(appliance, print)
        assert contents(appliance) in (NOW, {**PACKED, **OWN}), when
        assert not left_over(appliance), when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


def interrupted(appliance: Appliance, archive: Path) -> None:
    """A restore that was killed when the first of its files was in place."""
    for when in range(1, 40):
        assert killed(lambda: restore(Job(appliance, archive)), when, ("rename",))
        if "as packed" in contents(appliance).values():
            return
        swapping.finish_all(appliance, print)
        swapping.remove_all(appliance, print)


def away(appliance: Appliance, tmp_path: Path, name: str = "app/media/inner") -> Callable[[], None]:
    """Unmount a disk; what is returned mounts it again."""
    aside = tmp_path / "aside"
    aside.mkdir()
    subprocess.run(["mount", "--bind", appliance.data / name, aside], check=True)
    subprocess.run(["umount", appliance.data / name], check=True)

    def again() -> None:
        subprocess.run(["mount", "--bind", aside, appliance.data / name], check=True)
        subprocess.run(["umount", aside], check=True)

    return again


def test_what_was_interrupted_waits_for_its_disks(appliance: Appliance, tmp_path: Path) -> None:
    interrupted(appliance, tmp_path / "kept.tar")
    mount_again = away(appliance, tmp_path)
    told: list[str] = []

    swapping.finish_all(appliance, told.append)
    swapping.remove_all(appliance, told.append)
    assert swapping.is_unfinished(appliance)
    assert len(told) == 1 and told[0].endswith(f"is not in {appliance.data}/app/media/inner")
    mount_again()
    swapping.finish_all(appliance, told.append)
    swapping.remove_all(appliance, told.append)

    assert contents(appliance) == {**PACKED, **OWN}
    assert not left_over(appliance)


def test_a_disk_that_does_not_come_back_holds_up_no_later_restore(appliance: Appliance, tmp_path: Path) -> None:
    interrupted(appliance, tmp_path / "kept.tar")
    mount_again = away(appliance, tmp_path)
    listing(appliance, "app/file", "app/media/film")
    job = Job(appliance, tmp_path / "kept.tar")
    job.id = "000002-restore"

    restore(job)
    mount_again()
    swapping.finish_all(appliance, print)
    swapping.remove_all(appliance, print)

    note = "app/media/inner is not mounted: what a restore that was interrupted had for it is not put there"
    assert note in job.lines
    assert contents(appliance)["app/media/inner/film"] == "now"
    assert not left_over(appliance)


def test_a_disk_that_is_unmounted_meanwhile_is_missed_before_anything_moves(
    appliance: Appliance, tmp_path: Path
) -> None:
    job = Job(appliance, tmp_path / "kept.tar")
    restoring.check(job)
    mount_again = away(appliance, tmp_path)

    with pytest.raises(JobError, match="are gone from where they were unpacked in app/media/inner"):
        restoring.restore(job)
    assert not list(appliance.data.glob(".*"))
    mount_again()
    swapping.discard(appliance, Journal(appliance, job.id))

    assert contents(appliance) == NOW
    assert not left_over(appliance)


def test_a_disk_that_keeps_neither_owners_nor_modes_is_restored(appliance: Appliance, tmp_path: Path) -> None:
    job = Job(appliance, tmp_path / "kept.tar")
    restoring.check(job)
    # As on FAT, or on a share whose server takes root for nobody.
    [staging] = (appliance.data / "app/media").glob(".jidoteki-restore-*")
    os.chown(staging, 65534, 65534)
    staging.chmod(0o755)

    restoring.restore(job)

    assert contents(appliance) == {**PACKED, **OWN}
    assert not left_over(appliance)


# A single file


@pytest.fixture
def bound(appliance: Appliance, tmp_path: Path, mount: Mount) -> Path:
    """A file that is mounted in the data, as containers have them; the archive knows it."""
    source = write(tmp_path / "elsewhere/bound", "as packed, and longer")
    os.chown(source, 5, 6)
    os.utime(source, ns=(10**18, 10**18 + 7))
    mount(write(appliance.data / "app/bound"), "--bind", str(source))
    kept(appliance, tmp_path)
    write(source, "changed")
    os.chown(source, 0, 0)
    return source


def test_a_file_that_is_mounted_is_written(appliance: Appliance, tmp_path: Path, bound: Path) -> None:
    restore(Job(appliance, tmp_path / "kept.tar", mode="exact"))

    status = bound.stat()
    assert bound.read_text() == "as packed, and longer"
    assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (5, 6, 10**18 + 7)
    assert not left_over(appliance)


@pytest.mark.parametrize("taken_back", [False, True])
def test_a_file_that_is_mounted_is_written_or_not_wherever_the_restore_is_killed(
    appliance: Appliance, tmp_path: Path, bound: Path, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    archive = tmp_path / "kept.tar"
    for when in kills(200):
        write(bound, "changed")
        write(appliance.data / "app/file", "changed")
        with monkeypatch.context() as patched:
            if taken_back:
                patched.setattr(renames.Renames, "make", fails_at_last)
            restoring = refused if taken_back else lambda appliance, archive: restore(Job(appliance, archive))
            steps = ("fsync", "rename", "unlink", "write", "ftruncate", "mkdir")
            was_killed = killed(lambda: restoring(appliance, archive), when, steps)  # noqa: B023 - called at once
        swapping.finish_all(appliance, print)
        swapping.remove_all(appliance, print)
        both = bound.read_text(), (appliance.data / "app/file").read_text()
        assert both in (("changed", "changed"), ("as packed, and longer", "now")), when
        assert not left_over(appliance), when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


def test_a_file_that_is_mounted_for_reading_alone_is_refused_unless_it_is_the_same(
    appliance: Appliance, tmp_path: Path, bound: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,bind,ro", appliance.data / "app/bound"], check=True)
    before = contents(appliance)

    with pytest.raises(JobError, match=r"'app/bound' cannot be restored: .* at app/bound \(Read-only file system\)"):
        restore(Job(appliance, tmp_path / "kept.tar"))
    assert contents(appliance) == before

    write(bound, "as packed, and longer")
    restore(Job(appliance, tmp_path / "kept.tar"))
    assert (appliance.data / "app/file").read_text() == "now"


def test_no_file_is_written_that_took_the_place_of_a_mounted_one(
    appliance: Appliance, tmp_path: Path, bound: Path
) -> None:
    precious = write(tmp_path / "precious", "nobody's but root's")
    job = Job(appliance, tmp_path / "kept.tar")

    def swapped(self: renames.Renames, number: int, line: object) -> None:
        place = appliance.data / "app/bound"
        if subprocess.run(["umount", place], capture_output=True).returncode == 0:
            place.unlink()
            os.link(precious, place)
        MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came

    restoring.check(job)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(renames.Renames, "make", swapped)
        with pytest.raises(JobError, match="no file of its own file system"):
            restoring.restore(job)

    assert precious.read_text() == "nobody's but root's"


def test_a_disk_below_the_data_makes_the_round_trip_through_the_service(
    jidoteki_host: MakeHost, tmp_path: Path, mount: Mount
) -> None:
    host = jidoteki_host()
    media = mount(host.appliance.data / "app/media")
    write(media / "film", "as packed")
    host.post("/backup", "-F", "action=START")
    assert host.wait_for_job("/backup")["status"] == "success"
    archive = tmp_path / "kept.tar"
    archive.write_bytes(host.get("/backup/download").body)
    write(media / "film", "now")

    answer = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.json == {"Status": "200 OK"}
    assert (media / "film").read_text() == "as packed"
    assert os.listdir(media) == ["film"]
    assert "app/media is another file system, and what lies there is in the backup" in host.get("/backup/log").text


@pytest.mark.parametrize("odd", ["\r", "\x0b", "\x1c", "\x85", "\u2028"])
def test_mounts_with_odd_names_anywhere_hinder_nothing(
    jidoteki_host: MakeHost, tmp_path: Path, mount: Mount, odd: str
) -> None:
    mount(tmp_path / "by name", "-t", "tmpfs", f"with{odd}in")
    mount(tmp_path / "by path", "--bind", str(write(tmp_path / f"a{odd}b/file").parent))
    host = jidoteki_host()

    host.post("/backup", "-F", "action=START")

    assert host.wait_for_job("/backup")["status"] == "success"


def test_what_lies_on_hundreds_of_disks_is_restored(tmp_path: Path, mount: Mount) -> None:
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    listing(made, "app")
    files = [f"app/{number}/file" for number in range(300)]
    for name in files:
        mount((made.data / name).parent)
        write(made.data / name, "as packed")
    kept(made, tmp_path)
    for name in files:
        write(made.data / name, "now")

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as systemd sets it
    try:
        restore(Job(made, tmp_path / "kept.tar"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert contents(made) == dict.fromkeys(files, "as packed")
    assert not left_over(made)

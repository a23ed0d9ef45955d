"""Restores where something of the data is mounted a second time, or late, or is replaced by who works in there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from backupkit import Job, back_up, kept, killed, kills, listing, restore, write
from namespaces import Mount

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError, sparse_files
from jidoteki.hookspecs.mounts import bound_below, mounts_below
from jidoteki.plugins.backup import renames, restoring, swapping
from jidoteki.plugins.backup.journal import Journal

MODES = ["merge", "exact"]
MAKE = renames.Renames.make


@pytest.fixture
def appliance(tmp_path: Path, mount: Mount) -> Appliance:
    """One whose data are on a disk of their own."""
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    mount(made.data, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    return made


def contents(appliance: Appliance) -> dict[str, str]:
    data = appliance.data
    return {str(path.relative_to(data)): path.read_text() for path in data.rglob("*") if path.is_file()}


def write_all(appliance: Appliance, text: str, *names: str) -> None:
    for name in names:
        write(appliance.data / name, text)


def left_over(appliance: Appliance) -> list[Path]:
    return [*appliance.data.rglob(".jidoteki-*"), *appliance.jobs.glob("*journal*")]


def in_another_process(what: Callable[[], object]) -> None:
    """Run something whose locks are not held any more after it."""
    assert not killed(what, 0)


def start(appliance: Appliance) -> None:
    """What a start of the service does first."""
    with suppress(OSError):
        swapping.finish_all(appliance, print)
    swapping.remove_all(appliance, print)


def bind(mount: Mount, appliance: Appliance, source: str, place: str) -> None:
    (appliance.data / source).mkdir(parents=True, exist_ok=True)
    mount(appliance.data / place, "--bind", str(appliance.data / source))


def test_what_is_mounted_twice_is_found(appliance: Appliance, tmp_path: Path, mount: Mount) -> None:
    data = appliance.data
    bind(mount, appliance, "app/files", "www/files")
    mount(tmp_path / "out side", "--bind", str(write(data / "app/files/sub/file").parent))
    mount(data / "disk")
    mount(write(data / "copy"), "--bind", str(write(data / "disk/conf")))
    mount(tmp_path / "gone", "--bind", str(write(data / "gone/file").parent))
    (data / "gone/file").unlink()
    (data / "gone").rmdir()

    assert bound_below(data) == {
        "app/files": ["www/files"],
        "app/files/sub": [str(tmp_path / "out side")],
        "www/files/sub": [str(tmp_path / "out side")],
        "disk/conf": ["copy"],
    }


@pytest.mark.parametrize("last", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_is_reached_twice_is_as_before_when_a_restore_fails(
    appliance: Appliance, tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch, mode: str, last: int
) -> None:
    listing(appliance, "app", "www", "zzz")
    bind(mount, appliance, "app/files", "www/files")
    names = ("app/files/doc", "app/file", "www/index", "zzz/last")
    write_all(appliance, "as packed", *names)
    archive = kept(appliance, tmp_path)
    write_all(appliance, "now", *names)
    before = contents(appliance)

    def failing(self: renames.Renames, number: int, line: object) -> None:
        MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        if number == last:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(renames.Renames, "make", failing)
    with pytest.raises(JobError, match="Input/output error"):
        restore(Job(appliance, archive, mode=mode))

    assert contents(appliance) == before
    assert not left_over(appliance)


def test_what_is_put_twice_in_one_place_is_taken_back_from_the_last_to_the_first(
    appliance: Appliance, tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel does not tell that two paths are one."""
    monkeypatch.setattr(restoring, "bound_below", lambda data: {})
    listing(appliance, "app", "www", "zzz")
    bind(mount, appliance, "app/files", "www/files")
    write_all(appliance, "as packed", "app/files/doc", "zzz/last")
    archive = kept(appliance, tmp_path)
    write_all(appliance, "now", "app/files/doc", "zzz/last")
    made: list[int] = []

    def failing(self: renames.Renames, number: int, line: object) -> None:
        MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        made.append(number)
        if len(made) == 3:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(renames.Renames, "make", failing)
    with pytest.raises(JobError, match="Input/output error"):
        restore(Job(appliance, archive))

    assert contents(appliance) == {"app/files/doc": "now", "www/files/doc": "now", "zzz/last": "now"}


def test_an_exact_restore_leaves_what_is_mounted_twice_alive(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    listing(appliance, "app", "www")
    bind(mount, appliance, "app/files", "www/files")
    mount(tmp_path / "outside", "--bind", str(write(appliance.data / "app/own/file", "as packed").parent))
    write_all(appliance, "as packed", "app/files/doc", "app/file", "www/index")
    archive = kept(appliance, tmp_path)
    write_all(appliance, "now", "app/files/doc", "app/file", "www/index", "app/later", "app/own/later")

    restore(Job(appliance, archive, mode="exact"))
    write(appliance.data / "www/files/upload", "new")
    write(tmp_path / "outside/upload", "new")

    names = ("app/files/doc", "www/files/doc", "app/file", "www/index", "app/own/file")
    new = dict.fromkeys(("app/files/upload", "www/files/upload", "app/own/upload"), "new")
    assert contents(appliance) == {**dict.fromkeys(names, "as packed"), **new}
    assert not left_over(appliance)


def test_an_exact_restore_removes_nothing_that_is_mounted_elsewhere(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    listing(appliance, "app")
    write(appliance.data / "app/file", "as packed")
    archive = kept(appliance, tmp_path)
    bind(mount, appliance, "app/files", "www/files")
    write_all(appliance, "now", "app/files/doc", "app/out/doc", "app/conf")
    mount(tmp_path / "outside", "--bind", str(appliance.data / "app/out"))
    mount(write(tmp_path / "conf"), "--bind", str(appliance.data / "app/conf"))

    restore(Job(appliance, archive, mode="exact"))
    write(tmp_path / "outside/upload", "new")

    kept_ = {"app/files/doc": "now", "www/files/doc": "now", "app/conf": "now"}
    assert contents(appliance) == {"app/file": "as packed", "app/out/upload": "new", **kept_}


def test_two_contents_for_one_directory_are_refused_by_name(appliance: Appliance, tmp_path: Path, mount: Mount) -> None:
    listing(appliance, "app", "www")
    write_all(appliance, "as packed", "app/files/doc")
    write_all(appliance, "another one", "www/files/doc")
    archive = kept(appliance, tmp_path)
    bind(mount, appliance, "app/files", "www/files")
    write_all(appliance, "now", "app/files/doc")
    before = contents(appliance)

    with pytest.raises(JobError, match=r"'www/files' cannot be restored: it is the same as 'app/files', for which"):
        restore(Job(appliance, archive))

    assert contents(appliance) == before
    assert not left_over(appliance)


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_is_mounted_twice_is_restored(
    appliance: Appliance, tmp_path: Path, mount: Mount, mode: str
) -> None:
    listing(appliance, "app")
    mount(appliance.data / "app/one")
    mount(appliance.data / "app/two", "--bind", str(appliance.data / "app/one"))
    mount(appliance.data / "app/three", "--bind", str(write(appliance.data / "app/one/sub/file", "as packed").parent))
    write(appliance.data / "app/one/db", "as packed")
    archive = kept(appliance, tmp_path)
    write_all(appliance, "now", "app/one/db", "app/one/sub/file")

    restore(Job(appliance, archive, mode=mode))

    assert set(contents(appliance).values()) == {"as packed"}
    assert not left_over(appliance)


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_is_mounted_twice_once_for_reading_is_restored(
    appliance: Appliance, tmp_path: Path, mount: Mount, mode: str
) -> None:
    listing(appliance, "app", "www")
    bind(mount, appliance, "app/files", "www/files")
    subprocess.run(["mount", "-o", "remount,bind,ro", appliance.data / "www/files"], check=True)
    write(appliance.data / "app/files/doc", "as packed")
    archive = kept(appliance, tmp_path)
    write(appliance.data / "app/files/doc", "now")

    restore(Job(appliance, archive, mode=mode))

    assert contents(appliance) == dict.fromkeys(("app/files/doc", "www/files/doc"), "as packed")


def test_a_disk_that_is_mounted_on_one_that_takes_nothing_is_restored(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    listing(appliance, "app")
    image = mount(appliance.data / "app")
    write(image / "program", "as packed")
    mount(image / "var")
    write(image / "var/db", "as packed")
    subprocess.run(["mount", "-o", "remount,ro", image], check=True)
    archive = kept(appliance, tmp_path)
    write(image / "var/db", "now")

    restore(Job(appliance, archive))

    assert set(contents(appliance).values()) == {"as packed"}
    subprocess.run(["mount", "-o", "remount,rw", image], check=True)


@pytest.mark.parametrize("place", ["app/copy", "outside"])
@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_is_mounted_twice_stays_one_file(
    appliance: Appliance, tmp_path: Path, mount: Mount, mode: str, place: str
) -> None:
    listing(appliance, "app")
    conf = write(appliance.data / "app/conf", "as packed")
    copy = mount(write((appliance.data if place.startswith("app") else tmp_path) / place), "--bind", str(conf))
    archive = kept(appliance, tmp_path)
    write(conf, "now")

    restore(Job(appliance, archive, mode=mode))
    restored = copy.read_text()
    write(copy, "written since")

    assert restored == "as packed"
    assert conf.read_text() == "written since"
    assert not left_over(appliance)


def test_nothing_is_written_into_a_file_that_has_other_names(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    listing(appliance, "app/conf")
    conf = write(appliance.data / "app/conf", "as packed")
    archive = kept(appliance, tmp_path)
    write(conf, "now")
    os.link(conf, appliance.data / "precious")
    mount(write(tmp_path / "outside"), "--bind", str(conf))

    with pytest.raises(JobError, match=r"'app/conf' cannot be restored: it is mounted elsewhere, too, at .*outside \("):
        restore(Job(appliance, archive))

    assert (appliance.data / "precious").read_text() == "now"


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_is_mounted_after_a_kill_stays_where_it_is(
    appliance: Appliance, tmp_path: Path, mount: Mount, mode: str
) -> None:
    listing(appliance, "app")
    (appliance.data / "app/media").mkdir(parents=True)
    write_all(appliance, "as packed", "app/file", "app/new/file")
    archive = kept(appliance, tmp_path)
    for when in kills(200):
        write_all(appliance, "now", "app/file", "app/old/file")
        subprocess.run(["rm", "-rf", appliance.data / "app/new"], check=True)
        was_killed = killed(lambda: restore(Job(appliance, archive, mode=mode)), when)
        places = [appliance.data / f"app/{name}/media" for name in (".", "new", "old")]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
            write(mount(place) / "film", "precious")
        before = mounts_below(appliance.data)

        in_another_process(lambda: start(appliance))

        assert mounts_below(appliance.data) == before, when
        assert contents(appliance)["app/file"] in ("now", "as packed"), when
        for place in places:
            subprocess.run(["umount", place], check=True)
        in_another_process(lambda: start(appliance))
        assert not left_over(appliance), when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


def test_a_disk_that_is_away_for_a_later_restore_loses_nothing(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    names = ("app/file", "app/media/film", "app/media/deep/film", "app/media/deep/other")
    listing(appliance, "app")
    media = mount(appliance.data / "app/media")
    write_all(appliance, "as packed", *names)
    archive = kept(appliance, tmp_path)
    aside = tmp_path / "aside"
    aside.mkdir()
    for when in kills(200):
        write_all(appliance, "now", *names)
        was_killed = killed(lambda: restore(Job(appliance, archive)), when)
        subprocess.run(["mount", "--bind", media, aside], check=True)
        subprocess.run(["umount", media], check=True)
        listing(appliance, "app/file")
        later = Job(appliance, archive)
        later.id = "000002-restore"
        in_another_process(lambda: restore(later))  # noqa: B023 - called at once
        listing(appliance, "app")
        subprocess.run(["mount", "--bind", aside, media], check=True)
        subprocess.run(["umount", aside], check=True)
        in_another_process(lambda: start(appliance))

        found = {name: text for name, text in contents(appliance).items() if name.startswith("app/media")}
        assert sorted(found) == sorted(names[1:]) and len(set(found.values())) == 1, when
        assert not left_over(appliance), when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


def interrupted(appliance: Appliance, archive: Path) -> None:
    """A restore that was killed when it had changed something."""
    before = contents(appliance)
    for when in range(1, 40):
        assert killed(lambda: restore(Job(appliance, archive)), when, ("rename",))
        if {name: text for name, text in contents(appliance).items() if ".jidoteki" not in name} != before:
            return
        in_another_process(lambda: start(appliance))


def test_no_backup_is_made_of_data_that_are_half_restored(appliance: Appliance, tmp_path: Path, mount: Mount) -> None:
    listing(appliance, "app")
    media = mount(appliance.data / "app/media")
    write_all(appliance, "as packed", "app/file", "app/media/film")
    archive = kept(appliance, tmp_path)
    write_all(appliance, "now", "app/file", "app/media/film")
    interrupted(appliance, archive)
    subprocess.run(["umount", "-l", media], check=True)

    with pytest.raises(JobError, match="The data are half restored: 000001-restore was interrupted"):
        back_up(appliance)


def test_what_could_not_be_taken_back_is_not_completed_later(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    names = ("aaa/file", "app/file", "app/media/film", "app/media/deep/film", "zzz/file")
    listing(appliance, "aaa", "app", "zzz")
    media = mount(appliance.data / "app/media")
    write_all(appliance, "as packed", *names)
    archive = kept(appliance, tmp_path)
    write_all(appliance, "now", *names)
    job = Job(appliance, archive)
    told = tmp_path / "told"

    def read_only(self: renames.Renames, number: int, line: object) -> None:
        MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        if getattr(line, "directory", "").startswith("app/media"):
            subprocess.run(["mount", "-o", "remount,ro", media], check=True)

    def failing() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(renames.Renames, "make", read_only)
            with pytest.raises(JobError, match="The restore failed: Read-only file system"):
                restore(job)
        told.write_text("\n".join(job.lines))

    in_another_process(failing)
    assert "What a failed restore changed in app/media cannot be taken back now (Read-only file" in told.read_text()
    assert {name: text for name, text in contents(appliance).items() if "media" not in name} == dict.fromkeys(
        ("aaa/file", "app/file", "zzz/file"), "now"
    )
    subprocess.run(["mount", "-o", "remount,rw", media], check=True)
    write_all(appliance, "new work", "aaa/file", "app/file", "zzz/file")
    in_another_process(lambda: back_up(appliance))
    in_another_process(lambda: swapping.remove_all(appliance, print))

    after = contents(appliance)
    assert {after[name] for name in ("aaa/file", "app/file", "zzz/file")} == {"new work"}
    assert {after[name] for name in ("app/media/film", "app/media/deep/film")} == {"now"}
    assert not left_over(appliance)


def test_a_disk_that_is_unmounted_in_the_middle_is_as_before(
    appliance: Appliance, tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("app/file", "app/media/film", "app/media/deep/film")
    listing(appliance, "app")
    media = mount(appliance.data / "app/media")
    write_all(appliance, "as packed", *names)
    archive = kept(appliance, tmp_path)
    write_all(appliance, "now", *names)
    aside = tmp_path / "aside"
    aside.mkdir()

    def unmounted(self: renames.Renames, number: int, line: object) -> None:
        MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        if getattr(line, "directory", "").startswith("app/media/"):
            subprocess.run(["mount", "--bind", media, aside], check=True)
            subprocess.run(["umount", "-l", media], check=True)

    monkeypatch.setattr(renames.Renames, "make", unmounted)
    with pytest.raises(JobError, match="The restore failed"):
        restore(Job(appliance, archive))
    subprocess.run(["mount", "--bind", aside, media], check=True)
    subprocess.run(["umount", aside], check=True)
    swapping.discard(appliance, Journal(appliance, "000001-restore"))

    assert contents(appliance) == dict.fromkeys(names, "now")
    assert not left_over(appliance)


# Whoever works in the data


def test_a_directory_is_closed_before_what_was_closed_to_others_comes_into_it(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(appliance, "app")
    private = write(appliance.data / "app/private/deep/secret", "root's").parents[1]
    private.chmod(0o700)
    archive = kept(appliance, tmp_path)
    private.rename(appliance.data / "away")
    write(appliance.data / "app/private/deep/other", "somebody's")
    private.chmod(0o777)
    os.chown(private, 1234, 1234)
    modes: list[tuple[int, int]] = []

    def failing(self: renames.Renames, number: int, line: object) -> None:
        modes.append((private.stat().st_uid, private.stat().st_mode & 0o777))
        MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        if getattr(line, "directory", "") == "app":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(renames.Renames, "make", failing)
    with pytest.raises(JobError, match="Input/output error"):
        restore(Job(appliance, archive))

    assert set(modes) == {(0, 0o700)}
    assert (private.stat().st_uid, private.stat().st_mode & 0o777) == (1234, 0o777)
    assert not (private / "deep/secret").exists()


def test_what_is_moved_into_a_directory_that_gives_way_is_not_removed_with_it(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(appliance, "app/file")
    place = write(appliance.data / "app/file", "as packed")
    archive = kept(appliance, tmp_path)
    place.unlink()
    place.mkdir()
    write(appliance.data / "app/mine/precious", "root's")
    opened = os.open(place, os.O_RDONLY)

    def moved(self: renames.Renames, number: int, line: object) -> None:
        MAKE(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        with pytest.raises(FileNotFoundError):
            os.rename(appliance.data / "app/mine", "mine", dst_dir_fd=opened)

    monkeypatch.setattr(renames.Renames, "make", moved)
    restore(Job(appliance, archive))
    os.close(opened)

    assert contents(appliance) == {"app/file": "as packed", "app/mine/precious": "root's"}


def test_a_mounted_file_with_holes_needs_no_room_for_them(appliance: Appliance, tmp_path: Path, mount: Mount) -> None:
    listing(appliance, "app")
    conf = write(tmp_path / "conf", "as packed")
    os.truncate(conf, 1 << 30)
    mount(write(appliance.data / "app/conf"), "--bind", str(conf))
    archive = kept(appliance, tmp_path)
    write(conf, "now")
    os.truncate(conf, 1 << 31)

    restore(Job(appliance, archive))

    status = conf.stat()
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (1 << 30, True)
    with conf.open("rb") as file:
        assert file.read(12) == b"as packed\0\0\0"


def test_no_more_holes_are_merged_than_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_files, "MAX_REGIONS", 50)
    with (tmp_path / "image").open("wb") as file:
        for number in range(60):
            file.seek(number << 20)
            file.write(b"x" * 4096)
        file.truncate(60 << 20)
        file.flush()
        found = sparse_files.regions(os.open(file.name, os.O_RDONLY), os.fstat(file.fileno()))

    assert found is not None and len(found) <= 52
    assert sum(length for _, length in found) < 12 << 20


def test_nobody_is_given_a_directory_of_roots_that_he_put_in_the_place_of_his_own(
    appliance: Appliance, tmp_path: Path
) -> None:
    listing(appliance, "app/mine")
    mine = write(appliance.data / "app/mine/file", "as packed").parent
    for path in (mine, mine.parent):
        os.chown(path, 1234, 1234)
    archive = kept(appliance, tmp_path)
    mine.rename(appliance.data / "app/away")
    write(mine / "secret", "root's")

    with pytest.raises(JobError, match="'app/mine' cannot be restored: a directory of root's is there"):
        restore(Job(appliance, archive))

    assert mine.stat().st_uid == 0

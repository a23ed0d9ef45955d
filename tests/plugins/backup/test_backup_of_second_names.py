"""Files with several names (hard links) are packed once, and have all of them again after a restore."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from backupkit import Job, kept, listing, restore, write
from namespaces import Mount

from jidoteki.core.appliance import Appliance
from jidoteki.core.archives.unpacking import ArchiveError, Policy, unpack
from jidoteki.plugins.backup import hard_links
from jidoteki.plugins.backup.hard_links import SecondNames

LARGE = "x" * 300_000


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    listing(made, "app", "db")
    return made


def second_name(appliance: Appliance, first: str, second: str) -> None:
    path = appliance.data / second
    path.parent.mkdir(parents=True, exist_ok=True)
    path.hardlink_to(appliance.data / first)


def names(top: Path) -> set[frozenset[str]]:
    """The files below a directory, each as the set of its names."""
    found: dict[tuple[int, int], set[str]] = {}
    for path in top.rglob("*"):
        if path.is_file():
            status = path.stat()
            found.setdefault((status.st_dev, status.st_ino), set()).add(str(path.relative_to(top)))
    return {frozenset(each) for each in found.values()}


@pytest.mark.parametrize("mode", ["merge", "exact"])
def test_a_file_with_many_names_is_packed_once_and_has_them_again(
    appliance: Appliance, tmp_path: Path, mode: str
) -> None:
    write(appliance.data / "app/file", LARGE)
    for number in range(20):
        second_name(appliance, "app/file", f"app/{number}/file")
    second_name(appliance, "app/file", "db/file")
    write(appliance.data / "app/small", "small")
    second_name(appliance, "app/small", "app/z\u00fcrich")
    write(appliance.data / "app/tool", "small")
    (appliance.data / "app/tool").chmod(0o6755)
    second_name(appliance, "app/tool", "app/tool2")
    packed = names(appliance.data)

    archive = kept(appliance, tmp_path)
    (tmp_path / "by tar").mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path / "by tar"], check=True)
    for path in (appliance.data / "app").rglob("*"):
        if path.is_file():
            path.unlink()
    restore(Job(appliance, archive, mode=mode))

    assert archive.stat().st_size < 2 * len(LARGE)
    assert names(tmp_path / "by tar") == names(appliance.data) == packed
    assert (appliance.data / "db/file").read_text() == LARGE


def test_what_is_left_alone_by_a_merge_keeps_its_names(appliance: Appliance, tmp_path: Path) -> None:
    write(appliance.data / "app/file", "as packed")
    second_name(appliance, "app/file", "app/second")
    archive = kept(appliance, tmp_path)
    (appliance.data / "app/second").unlink()
    write(appliance.data / "app/file", "now")
    second_name(appliance, "app/file", "app/third")

    restore(Job(appliance, archive))

    assert names(appliance.data) == {frozenset({"app/file", "app/second"}), frozenset({"app/third"})}
    assert (appliance.data / "app/third").read_text() == "now"
    assert (appliance.data / "app/second").read_text() == "as packed"


def test_odd_names_are_packed_and_restored_each_with_the_content(appliance: Appliance, tmp_path: Path) -> None:
    write(appliance.data / "app/file", "content")
    for odd in (os.fsdecode(b"app/caf\xe9"), "app/new\nline"):
        second_name(appliance, "app/file", odd)
    second_name(appliance, "app/file", "app/last")
    archive = kept(appliance, tmp_path)
    packed = {path.name: path.read_text() for path in (appliance.data / "app").iterdir()}
    for path in (appliance.data / "app").iterdir():
        path.unlink()

    restore(Job(appliance, archive))

    assert {path.name: path.read_text() for path in (appliance.data / "app").iterdir()} == packed


def test_a_file_that_changes_between_its_names_is_packed_as_it_is_then(appliance: Appliance, tmp_path: Path) -> None:
    remembered = SecondNames([])
    path = write(tmp_path / "file", "old")
    (tmp_path / "second").hardlink_to(path)

    assert remembered.first("file", path.stat()) is None
    os.utime(path, ns=(0, 1))
    assert remembered.first("second", path.stat()) is None


def test_a_mount_of_the_same_file_system_is_no_place_for_a_link(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    write(appliance.data / "app/file", "as packed")
    second_name(appliance, "app/file", "other/second")
    (appliance.data / "app/bound").mkdir()
    mount(appliance.data / "app/bound", "--bind", str(appliance.data / "other"))

    archive = kept(appliance, tmp_path)
    write(appliance.data / "app/file", "now")
    restore(Job(appliance, archive))

    assert (appliance.data / "app/bound/second").read_text() == "as packed"
    with tarfile.open(archive) as members:
        assert not [member.name for member in members if member.islnk()]


@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_what_lies_on_a_disk_of_its_own_by_now_becomes_a_copy(
    appliance: Appliance, tmp_path: Path, mount: Mount, size: int
) -> None:
    file = write(appliance.data / "app/file", "y" * size)
    with file.open("r+b") as opened:
        opened.truncate(size * 2)  # with a hole at its end
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1234, 1235)
    os.setxattr(file, "user.note", b"kept")
    second_name(appliance, "app/file", "app/media/second")
    archive = kept(appliance, tmp_path)
    content = file.read_bytes()
    (appliance.data / "app/media/second").unlink()
    mount(appliance.data / "app/media")

    restore(Job(appliance, archive))

    copy = appliance.data / "app/media/second"
    one, other = file.stat(), copy.stat()
    assert copy.read_bytes() == content
    assert (one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns) == (
        other.st_mode, other.st_uid, other.st_gid, other.st_mtime_ns,
    )  # fmt: skip
    assert os.getxattr(copy, "user.note") == b"kept"


def test_names_that_are_remembered_take_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "file")
    (tmp_path / "second").hardlink_to(path)
    status = path.stat()
    remembered = SecondNames([])
    name = "n" * 1000
    for number in range(2 * hard_links.MAX_REMEMBERED // len(name)):
        other = os.stat_result((status.st_mode, number, status.st_dev, 2, 0, 0, 5, 0, 0, 0))
        assert remembered.first(name, other) is None

    met = [
        remembered.first("again", os.stat_result((status.st_mode, number, status.st_dev, 2, 0, 0, 5, 0, 0, 0)))
        for number in range(2 * hard_links.MAX_REMEMBERED // len(name))
    ]
    assert met[0] == name
    assert 0 < len([each for each in met if each]) < hard_links.MAX_REMEMBERED / len(name)


def test_copies_in_place_of_links_count_among_the_bytes_that_an_archive_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "made.tar", "w") as made:
        first = tarfile.TarInfo("first")
        first.size = 100
        made.addfile(first, io.BytesIO(bytes(100)))
        for number in range(10):
            link = tarfile.TarInfo(f"link-{number}")
            link.type, link.linkname = tarfile.LNKTYPE, "first"
            made.addfile(link)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EXDEV, "on another file system")

    monkeypatch.setattr(os, "link", refuse)
    policy = dataclasses.replace(Policy.restore(links_below=tmp_path, free_space=0), max_size=500)
    (tmp_path / "into").mkdir()

    with (
        pytest.raises(ArchiveError, match="unpacks to more than the 500 bytes"),
        (tmp_path / "made.tar").open("rb") as file,
    ):
        unpack(file, tmp_path / "into", policy)

"""Backups and restores where room is short, and holes, depth or the number of parts are large."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from backupkit import Job, kept, killed, listing, restore, write
from namespaces import Mount
from pace import slowness

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError, sparse_files
from jidoteki.plugins.backup import headers, jobs, mount_point_files, packing, restoring, staging, swapping
from jidoteki.plugins.backup.notes import Silent
from jidoteki.plugins.backup.restore_space import Room
from jidoteki.plugins.backup.selection import Tree

MIB = 1024 * 1024


@pytest.fixture
def appliance(tmp_path: Path, mount: Mount) -> Appliance:
    """One whose data are on a disk of 64 MiB."""
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    mount(made.data, "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    return made


def with_parts(path: Path, size: int, *offsets: int) -> Path:
    """Make a file with a byte at some places, and nothing elsewhere."""
    with open(write(path, ""), "r+b") as file:
        for offset in offsets:
            os.pwrite(file.fileno(), b"x", offset)
        file.truncate(size)
    return path


def depth_of_the_stack() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_the_estimate_counts_the_zeros_that_are_packed_for_holes(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_files, "MAX_REGIONS", 5)
    listing(appliance, "app")
    with_parts(appliance.data / "app/image", 40 * MIB, *range(0, 40 * MIB, MIB))

    estimated = packing.estimated(Tree(appliance.data, ["app"], Silent()))

    assert 30 * MIB < kept(appliance, tmp_path).stat().st_size < estimated + MIB


def test_comparing_files_with_holes_costs_what_their_data_cost(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    listing(appliance, "app")
    media = mount(appliance.data / "app/media")
    image = with_parts(media / "image", 32 * 1024 * MIB, 5, MIB)
    write(appliance.data / "app/file", "as packed")
    archive = kept(appliance, tmp_path)
    write(appliance.data / "app/file", "now")
    subprocess.run(["mount", "-o", "remount,ro", media], check=True)
    before = time.monotonic()

    restore(Job(appliance, archive))

    assert time.monotonic() - before < 3 * slowness()
    assert (appliance.data / "app/file").read_text() == "as packed"
    assert image.stat().st_size == 32 * 1024 * MIB


@pytest.mark.parametrize("offset", [6, MIB + 1, 9 * MIB])
def test_what_is_data_in_one_of_two_files_with_holes_tells_them_apart(
    appliance: Appliance, tmp_path: Path, mount: Mount, offset: int
) -> None:
    listing(appliance, "app")
    media = mount(appliance.data / "app/media")
    image = with_parts(media / "image", 10 * MIB, 5, MIB)
    archive = kept(appliance, tmp_path)
    os.truncate(with_parts(image, 10 * MIB, 5, MIB, offset), 10 * MIB)
    subprocess.run(["mount", "-o", "remount,ro", media], check=True)

    with pytest.raises(JobError, match="'app/media' cannot be restored: another file system is mounted"):
        restore(Job(appliance, archive))


def test_a_tree_as_deep_as_it_may_be_is_compared_in_few_frames(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    listing(appliance, "app")
    media = mount(appliance.data / "app")
    write(media / "/".join(["d"] * 250) / "file", "as packed")
    archive = kept(appliance, tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", media], check=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth_of_the_stack() + 300)
    try:
        restore(Job(appliance, archive))
    finally:
        sys.setrecursionlimit(limit)


def small_disk(mount: Mount, place: Path, size: str) -> Path:
    """A disk that gives room away at once, as those do that are no memory."""
    image = place.with_suffix(".img")
    subprocess.run(["truncate", "-s", size, image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", image], check=True)
    return mount(place, "-o", "loop", str(image))


@pytest.fixture
def bound(appliance: Appliance, tmp_path: Path, mount: Mount) -> Path:
    """A file of a small disk that is mounted as `app/conf`."""
    listing(appliance, "app")
    disk = small_disk(mount, tmp_path / "disk", "16M")
    mount(write(appliance.data / "app/conf"), "--bind", str(write(disk / "conf", "old content")))
    return disk / "conf"


def filled_up(disk: Path) -> None:
    """Leave no block of a disk free."""
    with (disk / "log").open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.parametrize("holes", [False, True])
def test_a_mounted_file_is_not_touched_before_there_is_room_for_what_comes(
    appliance: Appliance, tmp_path: Path, bound: Path, monkeypatch: pytest.MonkeyPatch, holes: bool
) -> None:
    with_parts(bound, 12 * MIB)
    with bound.open("r+b") as file:
        file.write(b"N" * 10 * MIB)
        file.truncate(16 * MIB if holes else 10 * MIB)
    archive = kept(appliance, tmp_path)
    bound.write_bytes(b"old" * MIB)
    written: list[int] = []
    write_part = os.pwrite

    def watched(descriptor: int, content: bytes, offset: int) -> int:
        if os.fstat(descriptor).st_ino == bound.stat().st_ino and os.fstat(descriptor).st_dev == bound.stat().st_dev:
            written.append(len(content))
        return write_part(descriptor, content, offset)

    job = Job(appliance, archive)
    restoring.check(job)
    filled_up(bound.parent)
    monkeypatch.setattr(os, "pwrite", watched)
    monkeypatch.setattr(Room, "take", lambda *arguments: None)  # what takes the room comes after it was counted
    with pytest.raises(JobError, match=r"The restore failed: the disk is full \('app/conf'\)"):
        restoring.restore(job)

    assert bound.read_bytes() == b"old" * MIB
    assert not written[3:]  # what was there was written back at the most


def test_what_a_mounted_file_had_in_the_place_of_holes_is_gone(
    appliance: Appliance, tmp_path: Path, bound: Path
) -> None:
    with_parts(bound, 9 * MIB, 0, 3 * MIB)
    before = bound.read_bytes()
    archive = kept(appliance, tmp_path)
    bound.write_bytes(b"o" * 8 * MIB)

    restore(Job(appliance, archive))

    assert bound.read_bytes() == before
    assert bound.stat().st_blocks * 512 < MIB


def test_what_a_file_system_without_holes_had_in_their_place_is_gone(
    appliance: Appliance, tmp_path: Path, bound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_parts(bound, 9 * MIB, 0, 3 * MIB)
    before = bound.read_bytes()
    archive = kept(appliance, tmp_path)
    bound.write_bytes(b"o" * 8 * MIB)
    monkeypatch.setattr(mount_point_files, "_FALLOCATE", lambda *arguments: -1)

    restore(Job(appliance, archive))

    assert bound.read_bytes() == before


def test_free_space_is_kept_where_a_mounted_file_is_kept_and_where_it_is_written(
    appliance: Appliance, tmp_path: Path, bound: Path
) -> None:
    bound.write_bytes(b"N" * 4 * MIB)
    archive = kept(appliance, tmp_path)
    bound.write_bytes(b"old" * MIB)

    for free_space, others, reason in (
        (5 * MIB, bound.parent / "log", r"\(what comes would leave less than 5242880 bytes free\)"),
        (20 * MIB, appliance.data / "log", "what is in it is kept meanwhile, which would leave less than 20971520"),
    ):
        others.write_bytes(bytes(6 * MIB if others.parent == bound.parent else 38 * MIB))
        job = Job(appliance, archive)
        job.host_config = {"limits": {"free-space": free_space}}
        with pytest.raises(JobError, match=f"'app/conf' cannot be restored: .*{reason}"):
            restore(job)
        others.unlink()

    assert bound.read_bytes() == b"old" * MIB


@pytest.mark.parametrize("place", ["app/image", "app/media/image"])
def test_free_space_is_kept_on_each_disk_whatever_the_holes(
    appliance: Appliance, tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    listing(appliance, "app")
    (appliance.data / "app").mkdir()
    small_disk(mount, tmp_path / "other", "64M")
    mount(appliance.data / "app/media", "--bind", str(tmp_path / "other"))
    image = appliance.data / place
    job = Job(appliance, of_single_bytes(tmp_path / "archive.tar", place, 5000))
    (image.parent / "much").write_bytes(bytes(free(image.parent) * 2 // 5))
    keep = free(image.parent) - 10 * MIB
    job.host_config = {"limits": {"free-space": keep}}
    least = [free(image.parent)]
    write_all = files.write_all

    def watched(descriptor: int, content: memoryview) -> None:
        write_all(descriptor, content)
        least.append(free(image.parent))

    monkeypatch.setattr(files, "write_all", watched)
    with pytest.raises(JobError, match=rf"would leave less than {keep} bytes of disk free|'{place}' finds no room"):
        restore(job)

    assert min(least) >= keep


def of_single_bytes(archive: Path, name: str, count: int) -> Path:
    """An archive of one file with as many parts, each of which takes a block of the disk."""
    numbers = [count, *(number for part in range(count) for number in (part * 8192, 1))]
    text = b"".join(b"%d\n" % number for number in numbers)
    text += bytes(-len(text) % 512)
    info = tarfile.TarInfo(sparse_files.member_name(name))
    info.size, info.mode = len(text) + count, 0o644
    header = headers.header(info, sparse_files.records(name, count * 8192))
    archive.write_bytes(header + text + b"x" * count + bytes(-count % 512) + bytes(1024))
    return archive


def free(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def test_a_disk_that_is_smaller_than_what_is_to_stay_free_is_restored(
    appliance: Appliance, tmp_path: Path, mount: Mount
) -> None:
    listing(appliance, "app")
    film = write(mount(appliance.data / "app/media") / "film", "as packed")
    archive = kept(appliance, tmp_path)
    write(film, "now")
    job = Job(appliance, archive)
    job.host_config = {"limits": {"free-space": 2 * MIB}}

    restore(job)

    assert film.read_text() == "as packed"


def test_a_member_that_the_disk_cannot_hold_is_named(appliance: Appliance, tmp_path: Path, mount: Mount) -> None:
    listing(appliance, "app")
    small_disk(mount, tmp_path / "other", "16M")
    mount(appliance.data / "app", "--bind", str(tmp_path / "other"))
    text = b"1\n%d\n0\n" % (1 << 62)
    info = tarfile.TarInfo(sparse_files.member_name("app/huge"))
    info.size, info.mode = len(text), 0o644
    header = headers.header(info, sparse_files.records("app/huge", 1 << 62))
    archive = tmp_path / "archive.tar"
    archive.write_bytes(header + text + bytes(-len(text) % 512) + bytes(1024))

    with pytest.raises(JobError, match=r"The archive cannot be unpacked: .*\('app/huge'\)"):
        restore(Job(appliance, archive))


def test_a_file_that_nothing_may_replace_is_named(appliance: Appliance, tmp_path: Path, mount: Mount) -> None:
    listing(appliance, "app")
    small_disk(mount, tmp_path / "other", "16M")
    mount(appliance.data / "app", "--bind", str(tmp_path / "other"))
    fixed = write(appliance.data / "app/deep/fixed", "as packed")
    archive = kept(appliance, tmp_path)
    subprocess.run(["chattr", "+i", fixed], check=True)
    try:
        with pytest.raises(JobError, match=r"The restore failed: Operation not permitted \('app/deep/fixed'\)"):
            restore(Job(appliance, archive))
    finally:
        subprocess.run(["chattr", "-i", fixed], check=True)


def test_the_full_disk_of_an_archive_is_named(appliance: Appliance, tmp_path: Path, mount: Mount) -> None:
    listing(appliance, "app")
    write(appliance.data / "app/file", "x" * MIB)
    spool = mount(appliance.spool, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    (spool / "other").write_bytes(bytes(MIB))
    job = Job(appliance)
    job.host_config = {"limits": {"free-space": -(1 << 30)}}

    with pytest.raises(JobError, match=f"The backup failed: the disk is full \\('{spool}'\\)"):
        jobs.back_up(job)


def left_over(appliance: Appliance) -> list[Path]:
    return [*appliance.data.glob(".jidoteki-*"), *appliance.jobs.glob("*journal*")]


def test_a_deep_chain_of_directories_leaves_nothing_in_the_data(appliance: Appliance, tmp_path: Path) -> None:
    listing(appliance, "app")
    write(appliance.data / "app/file", "as packed")
    archive = kept(appliance, tmp_path)
    chain = "import os\nfor _ in range(11_000): os.mkdir('d'); os.chdir('d')"
    subprocess.run([sys.executable, "-c", chain], cwd=appliance.data / "app", check=True)

    restore(Job(appliance, archive, mode="exact"))

    assert os.listdir(appliance.data / "app") == ["file"]
    assert not left_over(appliance)


def test_what_takes_too_long_to_remove_is_told_and_removed_later(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(appliance, "app")
    write(appliance.data / "app/file", "as packed")
    archive = kept(appliance, tmp_path)
    write(appliance.data / "app/deep/deeper/file", "now")
    job = Job(appliance, archive, mode="exact")

    with monkeypatch.context() as patched:
        patched.setattr(staging, "EMPTYING_TIMEOUT", 0.0)
        assert killed(lambda: leaving(job, tmp_path / "told"), 0) is False
    assert f"in {appliance.data} cannot be removed now: the next restore" in (tmp_path / "told").read_text()
    assert left_over(appliance)

    monkeypatch.setattr(swapping, "remove_all", lasting(swapping.remove_all))
    restoring.recover(appliance)
    deadline = time.monotonic() + 10 * slowness()
    while left_over(appliance) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left_over(appliance)


def leaving(job: Job, told: Path) -> None:
    restore(job)
    told.write_text("\n".join(job.lines))


def lasting(remove_all: Callable[..., None]) -> Callable[..., None]:
    """One that has not enough time at first."""
    times = iter((0.0, 0.0))

    def call(*arguments: Any) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(staging, "EMPTYING_TIMEOUT", next(times, 60.0))
            remove_all(*arguments)

    return call


def test_a_path_as_deep_as_it_may_be_is_restored_in_few_frames(appliance: Appliance, tmp_path: Path) -> None:
    name = f"{'/'.join(['d'] * 254)}/file"
    listing(appliance, name)
    write(appliance.data / name, "as packed")
    archive = kept(appliance, tmp_path)
    subprocess.run(["rm", "-r", appliance.data / "d"], check=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth_of_the_stack() + 650)
    try:
        restore(Job(appliance, archive))
    finally:
        sys.setrecursionlimit(limit)

    assert (appliance.data / name).read_text() == "as packed"

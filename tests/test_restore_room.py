"""Backups and restores where room is short, and holes, depth or the number of parts are large."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backupkit import Job, kept, listing, restore, write
from namespaces import Mount
from pace import slowness

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobFailed, sparse_files
from jidoteki.plugins.backup import packing
from jidoteki.plugins.backup.notes import Silent
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

    with pytest.raises(JobFailed, match="'app/media' cannot be restored: another file system is mounted"):
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

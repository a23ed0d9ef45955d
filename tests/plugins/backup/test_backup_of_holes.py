"""Files with holes cost a backup what is in them, and have their holes again after a restore."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from backupkit import Job, back_up, listing, restore

from jidoteki.hookspecs import sparse_files
from jidoteki.testing import Host, MakeHost

MIB = 1024 * 1024
HUGE = 292_000_000_000
NAME = "app/caf\udce9.img"
LONG = f"app/{'long' * 50}.img"


def with_holes(path: Path, size: int, *offsets: int) -> None:
    """Make a file with a few bytes at some places, and nothing elsewhere."""
    with open(os.fsencode(path), "wb") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(f"data at {offset}".encode())
        file.truncate(size)


def parts(path: Path) -> list[bytes]:
    """What a file holds beside zeros, part by part."""
    with open(os.fsencode(path), "rb") as file:
        status = os.fstat(file.fileno())
        regions = sparse_files.regions(file.fileno(), status)
        assert regions, "it has no holes"
        return [os.pread(file.fileno(), length, offset).strip(b"\0") for offset, length in regions if length]


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    with_holes(host.appliance.data / NAME, HUGE, 0, 10 * MIB, HUGE - 100)
    with_holes(host.appliance.data / "app/empty.img", HUGE)
    with_holes(host.appliance.data / LONG, HUGE, HUGE - 100)
    return host


def backed_up(host: Host, to: Path) -> Path:
    host.post("/backup", "-F", "action=START")
    status = host.wait_for_job("/backup")
    assert status["status"] == "success", status
    to.write_bytes(host.get("/backup/download").body)
    return to


EXPECTED = [b"data at 0", b"data at 10485760", b"data at %d" % (HUGE - 100)]


def test_holes_cost_nothing_and_are_there_again_after_a_restore(host: Host, tmp_path: Path) -> None:
    start = time.monotonic()
    archive = backed_up(host, tmp_path / "backup.tar")
    shutil.rmtree(host.appliance.data / "app")

    answer = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.json == {"Status": "200 OK"}
    assert archive.stat().st_size < MIB
    restored = (host.appliance.data / NAME).stat()
    assert (restored.st_size, restored.st_blocks * 512 < MIB) == (HUGE, True)
    assert parts(host.appliance.data / NAME) == EXPECTED
    assert parts(host.appliance.data / "app/empty.img") == []
    assert parts(host.appliance.data / LONG) == EXPECTED[-1:]
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("tar", ["tar", "bsdtar"])
def test_tar_unpacks_the_holes(host: Host, tmp_path: Path, tar: str) -> None:
    if not shutil.which(tar):
        pytest.skip(f"there is no {tar}")
    archive = backed_up(host, tmp_path / "backup.tar")
    out = tmp_path / "out"
    out.mkdir()

    subprocess.run([tar, "-xf", archive, "-C", out], check=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})

    assert (out / NAME).stat().st_size == HUGE
    assert parts(out / NAME) == EXPECTED
    assert parts(out / LONG) == EXPECTED[-1:]


def test_python_reads_the_holes(host: Host, tmp_path: Path) -> None:
    archive = backed_up(host, tmp_path / "backup.tar")

    with tarfile.open(archive) as opened:
        for name in ("app/empty.img", LONG):
            member = opened.getmember(name)
            assert (member.issparse(), member.size) == (True, HUGE)


def test_what_gnu_tar_packed_with_holes_is_restored(host: Host, tmp_path: Path) -> None:
    archive = tmp_path / "gnu.tar"
    data = host.appliance.data
    os.rename(os.fsencode(data / NAME), data / "app/plain.img")
    subprocess.run(["tar", "-C", data, "--format=posix", "-Scf", archive, "app"], check=True, timeout=60)
    shutil.rmtree(data / "app")

    answer = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.json == {"Status": "200 OK"}
    assert parts(data / "app/plain.img") == EXPECTED


@pytest.mark.parametrize("most", [sparse_files.MAX_REGIONS, 50])
def test_thousands_of_holes_come_back_as_they_were(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int
) -> None:
    monkeypatch.setattr(sparse_files, "MAX_REGIONS", most)
    path = host.appliance.data / "many/holes.img"
    path.parent.mkdir()
    with_holes(path, 40 * MIB, *range(0, 40 * MIB, 16384))
    before = path.read_bytes()
    listing(host.appliance, "many")
    back_up(host.appliance)
    archive = Path(shutil.copy(host.appliance.spool / "backup.tar", tmp_path / "kept.tar"))
    shutil.rmtree(path.parent)

    restore(Job(host.appliance, archive))

    assert path.read_bytes() == before


def test_where_holes_cannot_be_told_all_is_packed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(host.appliance.data / "app")
    with_holes(host.appliance.data / "some.img", 4 * MIB, 0)
    listing(host.appliance, "some.img")
    seek = os.lseek

    def unable(descriptor: int, offset: int, what: int) -> int:
        if what in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(22, "Invalid argument")
        return seek(descriptor, offset, what)

    monkeypatch.setattr(os, "lseek", unable)

    back_up(host.appliance)

    with tarfile.open(host.appliance.spool / "backup.tar") as opened:
        member = opened.getmember("some.img")
        assert (member.issparse(), member.size) == (False, 4 * MIB)


def changed_map(archive: Path, text: bytes) -> None:
    content = archive.read_bytes()
    start = content.index(b"2\n0\n")
    archive.write_bytes(content[:start] + text.ljust(512, b"\0") + content[start + 512 :])


@pytest.mark.parametrize(
    "text",
    [
        b"2\n0\n4096\n0\n4096\n",
        b"2\n8192\n4096\n0\n0\n",
        b"1\n0\n99999999999999999999\n",
        b"1\n0\n1\n",
        b"200000\n0\n4096\n",
        b"x\n",
        b"-1\n",
        b"",
        b"1" * 512,
        b"2\n0\n4096\n4194305\n0\n",
    ],
)
def test_a_map_that_makes_no_sense_is_refused_and_nothing_restored(host: Host, tmp_path: Path, text: bytes) -> None:
    data = host.appliance.data
    shutil.rmtree(data / "app")
    with_holes(data / "some.img", 4 * MIB, 0)
    listing(host.appliance, "some.img")
    archive = backed_up(host, tmp_path / "backup.tar")
    changed_map(archive, text)

    answer = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.status == 400
    assert "holes" in answer.json["Error-Message"]
    assert parts(data / "some.img") == [b"data at 0"]

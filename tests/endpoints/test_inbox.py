"""The uploads directory belongs to another user: nothing in it affects what is sent or received over HTTP."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from obstacles import obstruct, remove

from jidoteki.core.files import publishing
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND

NOBODY = 65534
EVIL = b"what somebody else put there\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make things that belong to others")


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def in_time(host: Host, path: str) -> int:
    """Return the status of a GET that must not block."""
    began = time.monotonic()
    status = host.get(path, "--max-time", "20").status
    assert time.monotonic() - began < 15
    return status


@pytest.mark.parametrize("accepted", ["gzip", "br", "gzip, deflate, br, zstd"])
@pytest.mark.parametrize(("path", "where"), [
    ("/changelog", "etc/changelog.txt"), ("/update/log", "log/update.log"), ("/logs", "spool/logs.tar.gz"),
    ("/debug", "spool/debug-bundle.tar"),
])  # fmt: skip
def test_nothing_beside_a_file_is_sent_in_its_place(host: Host, path: str, where: str, accepted: str) -> None:
    file = host.appliance.admin / where
    if not where.startswith("spool"):
        file.write_bytes(b"the file itself\n")
    for suffix in (".gz", ".br", ".zst"):
        file.with_name(file.name + suffix).write_bytes(gzip.compress(EVIL))

    answer = host.get(path, "-H", f"Accept-Encoding: {accepted}")

    assert answer.status == 200
    assert "Content-Encoding" not in answer.headers
    assert answer.body == file.read_bytes()


def test_ranges_and_conditions_of_a_download_count(host: Host) -> None:
    (host.appliance.log / "update.log").write_text("0123456789\n")
    whole = host.get("/update/log")

    part = host.get("/update/log", "-H", "Range: bytes=2-4")
    same = host.get("/update/log", "-H", f"If-None-Match: {whole.headers['Etag']}")
    unchanged = host.get("/update/log", "-H", f"If-Modified-Since: {whole.headers['Last-Modified']}")
    beyond = host.get("/update/log", "-H", "Range: bytes=100-")

    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/11")
    assert (same.status, unchanged.status, beyond.status) == (304, 304, 416)


def test_downloads_leave_no_descriptor_open(host: Host) -> None:
    (host.appliance.log / "update.log").write_text("log\n")
    assert host.process
    open_files = Path(f"/proc/{host.process.pid}/fd")
    host.get("/update/log")
    wait_until(lambda: not [each for each in open_files.iterdir() if "update.log" in str(each.readlink())])


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "dangling link", "link to an endless device"])
@pytest.mark.parametrize(("path", "where"), [("/changelog", "etc/changelog.txt"), ("/update/log", "log/update.log")])
def test_what_is_no_file_is_not_served_nor_waited_for(host: Host, kind: str, path: str, where: str) -> None:
    assert obstruct(host.appliance.admin / where, kind)

    assert in_time(host, path) == 404
    assert in_time(host, "/update") == 200
    assert in_time(host, "/version") == 200


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "dangling link", "garbage", "missing"])
def test_with_anything_in_place_of_the_uploads_directory_all_goes_on(host: Host, tmp_path: Path, kind: str) -> None:
    remove(host.appliance.uploads)
    assert kind == "missing" or obstruct(host.appliance.uploads, kind)
    (tmp_path / "package").write_bytes(b"no package")

    posted = host.post("/update", "-F", f"update=@{tmp_path / 'package'}")

    assert posted.status == 202
    assert host.wait_for_job("/update")["error-code"] == "E1005"
    assert host.get("/logs").status == 200
    assert host.get("/debug").status == 200


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "link to an endless device", "immutable file"])
def test_with_anything_in_the_inbox_called_as_what_is_published_all_goes_on(host: Host, kind: str) -> None:
    for name in ("logs.tar.gz", "debug-bundle.tar"):
        if not obstruct(host.appliance.uploads / name, kind):
            pytest.skip(f"this system can have no {kind}")

    assert host.get("/logs").status == 200
    assert host.get("/debug").status == 200
    for name in ("logs.tar.gz", "debug-bundle.tar"):
        remove(host.appliance.uploads / name)


@as_root
def test_nothing_is_written_through_a_link_of_somebody_else(host: Host, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    home = host.appliance.uploads.parent
    host.appliance.uploads.rename(home / "old")
    os.chown(home, NOBODY, NOBODY)
    host.appliance.uploads.symlink_to(elsewhere)

    assert host.get("/logs").status == 200

    assert list(elsewhere.iterdir()) == []


def test_a_link_that_the_vendor_made_is_followed(host: Host, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    host.appliance.uploads.parent.chmod(0o755)
    host.appliance.uploads.rmdir()
    host.appliance.uploads.symlink_to(elsewhere)

    assert host.get("/logs").status == 200

    assert [each.name for each in elsewhere.iterdir()] == ["logs.tar.gz"]


def test_what_is_shown_is_a_copy_that_nobody_can_change_the_served_file_by(host: Host) -> None:
    host.get("/logs")
    shown, served = host.appliance.uploads / "logs.tar.gz", host.appliance.spool / "logs.tar.gz"

    assert shown.read_bytes() == served.read_bytes()
    assert shown.stat().st_ino != served.stat().st_ino
    assert served.stat().st_nlink == 1
    assert {each.stat().st_mode & 0o777 for each in (shown, served)} == {0o600}


def test_what_there_is_no_room_to_show_is_served_and_no_old_copy_stays(tmp_path: Path) -> None:
    spool, uploads = tmp_path / "spool", tmp_path / "uploads"
    for each in (spool, uploads):
        each.mkdir()
    (uploads / "big").write_text("old")
    with (tmp_path / "made").open("wb") as file:
        file.truncate(os.statvfs(uploads).f_blocks * os.statvfs(uploads).f_frsize)  # as big as the disk

    target = publishing.publish(tmp_path / "made", spool, uploads, "big")

    assert target.exists()
    assert list(uploads.iterdir()) == []


def test_what_lies_in_the_way_in_the_spool_is_set_aside(host: Host) -> None:
    obstruct(host.appliance.spool / "logs.tar.gz", "directory")

    assert host.get("/logs").status == 200

    aside = list(host.appliance.spool.glob("logs.tar.gz.aside-*"))
    assert [(each / "inside/file").read_text() for each in aside] == ["somebody's\n"]


def test_a_package_is_found_among_what_only_looks_like_one(host: Host, tmp_path: Path) -> None:
    package = tmp_path / "made.enc"
    source = tmp_path / "source"
    source.mkdir()
    (source / "version.txt").write_text("1.1.0\n")
    vendor = host.appliance.root / "vendor"
    subprocess.run(
        [*COMMAND, "package", "build", source, "--version", "1.1.0", "--key", vendor / "updates.key", "--sign-key",
         vendor / "private.pem", "-o", package], check=True, capture_output=True,
    )  # fmt: skip
    uploads = host.appliance.uploads
    (uploads / "software_package-1.enc").write_bytes(package.read_bytes())
    os.utime(uploads / "software_package-1.enc", (1, 1))
    kinds = ("directory", "pipe", "socket", "dangling link", "link to an endless device")
    for number, kind in enumerate(kinds):
        assert obstruct(uploads / f"software_package-x{number}.enc", kind)
    (uploads / "other-package.enc").write_bytes(b"rubbish")

    done = subprocess.run(
        [*COMMAND, "update", "--root", str(host.appliance.root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert host.get("/version").json == {"version": "1.1.0"}
    left = sorted(each.name for each in uploads.iterdir())
    assert left == ["other-package.enc", *(f"software_package-x{number}.enc" for number in range(len(kinds)))]
    log = host.get("/update/log").text
    assert all(f"software_package-x{number}.enc is passed over" in log for number in range(len(kinds)))


def test_a_socket_that_listens_in_place_of_a_log_is_not_talked_to(host: Host) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(host.appliance.log, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/update.log")
        os.close(here)
        listening.listen()
        assert in_time(host, "/update/log") == 404

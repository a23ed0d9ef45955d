"""The uploads directory belongs to the SFTP user: nothing that he puts there changes, fails or delays a backup."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

SFTP_USER = 998
EVIL = b"not what was backed up"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    (host.appliance.data / "app/padding").write_bytes(os.urandom(100_000))
    return host


def full_directory(path: Path) -> None:
    path.mkdir()
    (path / "file").touch()


def bound_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/{path.name}")  # its whole path may be too long for a socket
    os.close(here)


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "full directory": full_directory,
    "pipe": os.mkfifo,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link in a circle": lambda path: path.symlink_to(path.name),
    "socket": bound_socket,
    "file": lambda path: path.write_bytes(EVIL),
    "description": lambda path: path.write_text('{"status":"success","filesize":"1.0K","sha256":"x","size":22}'),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", ["backup.tar", "backup.json"])
def test_nothing_in_the_way_there_stops_a_backup(host: Host, kind: str, name: str) -> None:
    IN_THE_WAY[kind](host.appliance.uploads / name)

    host.post("/backup", "-F", "action=START")
    status = host.wait_for_job("/backup", seconds=20)
    body = host.get("/backup/download").body
    stopped = host.post("/backup", "-F", "action=STOP")

    assert (status["status"], status["sha256"]) == ("success", hashlib.sha256(body).hexdigest())
    assert (stopped.status, host.get("/backup").status) == (202, 404)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")
@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_what_he_puts_there_is_no_backup(host: Host, kind: str) -> None:
    for name in ("backup.tar", "backup.json"):
        IN_THE_WAY[kind](host.appliance.uploads / name)
        os.chown(host.appliance.uploads / name, SFTP_USER, -1, follow_symlinks=False)

    assert [host.get(path).status for path in ("/backup", "/backup/download")] == [404, 404]


def test_a_backup_that_he_replaces_is_served_as_it_was_made(host: Host) -> None:
    host.post("/backup", "-F", "action=START")
    status = host.wait_for_job("/backup")
    for name in ("backup.tar", "backup.json"):
        (host.appliance.uploads / name).unlink()
        (host.appliance.uploads / name).write_bytes(EVIL)
        (host.appliance.uploads / f"{name}.gz").write_bytes(gzip.compress(EVIL))

    download = host.get("/backup/download", "-H", "Accept-Encoding: gzip, br")

    assert host.get("/backup").json == status
    assert hashlib.sha256(download.body).hexdigest() == status["sha256"]


def test_tools_find_the_backup_in_the_uploads_directory(host: Host) -> None:
    host.post("/backup", "-F", "action=START")
    status = host.wait_for_job("/backup")

    shown = {name: (host.appliance.uploads / name).read_bytes() for name in ("backup.tar", "backup.json")}
    described = json.loads(shown["backup.json"])

    assert hashlib.sha256(shown["backup.tar"]).hexdigest() == status["sha256"] == described["sha256"]
    assert f"Created file: {host.appliance.uploads}/backup.tar - size:" in host.get("/backup/log").text
    assert oct((host.appliance.uploads / "backup.tar").stat().st_mode) == oct(0o100600)


def test_stop_deletes_both_and_what_a_killed_publishing_left(host: Host) -> None:
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    for directory in (host.appliance.uploads, host.appliance.spool):
        (directory / ".jidoteki-backup.tar-0123456789abcdef").touch()

    host.post("/backup", "-F", "action=STOP")

    assert [*host.appliance.uploads.iterdir(), *host.appliance.spool.iterdir()] == []


DESCRIPTIONS = [
    b"", b"null", b"[]", b"[" * 100_000, b"nonsense", b'{"status": "success"}', b'{"status": "other"}', b"\xff",
    b'{"status": "failed"}', b'{"status": "failed", "error-message": 7}', b'{"status": {"a": 1}}',
    b'{"status": "success", "filesize": "1.0K", "sha256": "../etc", "size": 10240}',
    b'{"status": "success", "filesize": "1.0K", "sha256": "%b", "size": -1}' % (b"0" * 64), b"1" * 70_000,
]  # fmt: skip


@pytest.mark.parametrize("content", DESCRIPTIONS)
def test_a_description_that_makes_no_sense_describes_no_backup(host: Host, content: bytes) -> None:
    (host.appliance.spool / "backup.tar").write_bytes(bytes(10240))
    (host.appliance.spool / "backup.json").write_bytes(content)

    assert [host.get(path).status for path in ("/backup", "/backup/download")] == [404, 404]


@pytest.fixture
def small_uploads(jidoteki_host: MakeHost) -> Iterator[Host]:
    """A host whose uploads directory is a file system of its own, with a megabyte."""
    host = jidoteki_host(start=False)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(host.appliance.uploads)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root, to mount a tmpfs")
    try:
        yield host.start()
    finally:
        host.stop()
        subprocess.run(["umount", "-l", str(host.appliance.uploads)], check=True)


@pytest.mark.parametrize(("size", "shown"), [(200_000, True), (5_000_000, False)])
def test_an_uploads_directory_elsewhere_shows_a_copy_if_there_is_room(
    small_uploads: Host, size: int, shown: bool
) -> None:
    host = small_uploads
    (host.appliance.data / "app/padding").write_bytes(os.urandom(size))

    host.post("/backup", "-F", "action=START")
    status = host.wait_for_job("/backup")

    assert status["sha256"] == hashlib.sha256(host.get("/backup/download").body).hexdigest()
    assert (host.appliance.uploads / "backup.tar").exists() is shown
    assert not list(host.appliance.uploads.glob(".*"))

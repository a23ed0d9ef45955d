"""What an appliance packed itself it restores itself, whatever its files are called and wherever its links lead."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

NAMES = {
    "Latin-1": b"caf\xe9",
    "a newline": b"two\nlines",
    "Icon and a carriage return": b"Icon\r",
    "a line separator": "two\u2028lines".encode(),
    "an escape": b"\x1b[31m",
    "200 bytes of Latin-1": b"\xe9" * 200,
}


def _named(name: bytes) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        path = os.fsencode(directory) + b"/" + name
        with open(path, "wb") as file:
            file.write(b"content")
        os.mkdir(path + b".d")
        os.symlink(name, path + b".l")

    return make


def _link(target: str) -> Callable[[Path], None]:
    return lambda directory: (directory / "link").symlink_to(target)


def _dated(seconds: int) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        (directory / "dated").write_text("old or new")
        os.utime(directory / "dated", (seconds, seconds))

    return make


KINDS: dict[str, Callable[[Path], None]] = {
    **{f"a name with {what}": _named(name) for what, name in NAMES.items()},
    "an absolute link that leads out": _link("/etc/hostname"),
    "a relative link that leads out": _link("../../../etc/hostname"),
    "a link through itself": _link("link/../x"),
    "a link to another encoding": lambda directory: os.symlink(b"/\xe9\n", os.fsencode(directory / "link")),
    "a date of 1901": _dated(-(2**31)),
    "a date of 2400": _dated(13_569_465_600),
}


def content(directory: Path) -> dict[bytes, object]:
    """Every file below a directory: mode, time and content."""
    found: dict[bytes, object] = {}
    for parent, directories, files in os.walk(os.fsencode(directory)):
        for name in (*directories, *files):
            path = parent + b"/" + name
            status = os.lstat(path)
            if os.path.islink(path):
                held: object = os.readlink(path)
            else:
                held = None if os.path.isdir(path) else Path(os.fsdecode(path)).read_bytes()
            found[path] = (status.st_mode, status.st_mtime_ns, held)
    return found


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def backed_up(host: Host, to: Path) -> Path:
    host.post("/backup", "-F", "action=START")
    status = host.wait_for_job("/backup")
    assert status["status"] == "success", status
    assert "incomplete" not in status
    to.write_bytes(host.get("/backup/download").body)
    return to


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_packed_and_restored_truly(host: Host, tmp_path: Path, kind: str) -> None:
    app = host.appliance.data / "app"
    KINDS[kind](app)
    before = content(app)
    archive = backed_up(host, tmp_path / "backup.tar")
    shutil.rmtree(app)

    answer = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.json == {"Status": "200 OK"}
    assert content(app) == before


@pytest.mark.parametrize("kind", ["an absolute link that leads out", "a name with Latin-1"])
def test_an_archive_that_was_changed_by_one_byte_is_judged_like_any_other(
    host: Host, tmp_path: Path, kind: str
) -> None:
    app = host.appliance.data / "app"
    KINDS[kind](app)
    (app / "plain").write_text("before")
    archive = backed_up(host, tmp_path / "backup.tar")
    archive.write_bytes(archive.read_bytes().replace(b"before", b"beFore"))
    before = content(app)

    answer = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.status == 400
    assert content(app) == before


def test_another_appliance_does_not_take_its_links(host: Host, jidoteki_host: MakeHost, tmp_path: Path) -> None:
    (host.appliance.data / "app/link").symlink_to("/etc/hostname")
    archive = backed_up(host, tmp_path / "backup.tar")
    other = jidoteki_host()

    answer = other.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.status == 400
    assert "leads out of" in answer.json["Error-Message"]


def test_gnu_tar_reads_what_was_packed(host: Host, tmp_path: Path) -> None:
    app = host.appliance.data / "app"
    for kind in KINDS:
        if kind.startswith("a name with"):
            KINDS[kind](app)
    archive = backed_up(host, tmp_path / "backup.tar")
    (tmp_path / "out").mkdir()

    done = subprocess.run(["tar", "xpf", archive, "-C", tmp_path / "out"], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    root = os.fsencode(tmp_path / "out/app")
    assert {os.path.join(root, os.path.relpath(each, os.fsencode(app))) for each in content(app)} == set(
        content(tmp_path / "out/app")
    )

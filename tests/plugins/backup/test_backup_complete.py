"""A backup says success only if all is in it; what cannot be packed is told, and allowed only by the configuration."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backupkit import Job, listing, write

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError, mounts
from jidoteki.hookspecs.restorable import LEFT_OUT, MAX_DEPTH
from jidoteki.plugins.backup import jobs, left_out, packing, stored_backup
from jidoteki.plugins.backup.notes import Silent
from jidoteki.plugins.backup.selection import Tree

ROOT = os.geteuid() == 0
NOBODY = 65534
ODD = os.fsdecode(b"caf\xe9")


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    return made_in(tmp_path)


def made_in(directory: Path) -> Appliance:
    made = Appliance(directory / "root", directory / "root/admin")
    made.prepare()
    write(made.data / "db/plain")
    listing(made, "db")
    return made


def back_up(appliance: Appliance, allowed: bool = False) -> Job:
    job = Job(appliance)
    job.config = {"allow-incomplete": allowed}
    jobs.back_up(job)
    return job


def names_in(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def left_out_of(path: Path) -> list[str]:
    content = subprocess.run(["tar", "xOf", path, LEFT_OUT], capture_output=True, check=True).stdout
    return [json.loads(line) for line in content.splitlines()]


def device(path: Path) -> None:
    os.mknod(path, 0o020600, os.makedev(1, 3))


def deep(path: Path) -> None:
    os.makedirs(path / ("d/" * (MAX_DEPTH - 1)))


CANNOT_BE_PACKED: dict[str, Callable[[Path], object]] = {
    "a device": device,
    "a device with a newline in its name": lambda path: device(path.with_name("new\nline")),
    "a device whose name is not UTF-8": lambda path: device(path.with_name(ODD)),
    "too many directories deep": deep,
}


@pytest.mark.parametrize("kind", CANNOT_BE_PACKED)
def test_a_backup_that_lacks_something_fails_and_names_it(appliance: Appliance, kind: str) -> None:
    if "device" in kind and not ROOT:
        pytest.skip("needs root, to make a device")
    CANNOT_BE_PACKED[kind](appliance.data / "db/odd")

    with pytest.raises(JobError, match="1 of what backup.txt lists cannot be packed: 'db/.*allow-incomplete") as failed:
        back_up(appliance)

    assert stored_backup.status(appliance) == {"status": "failed", "error-message": failed.value.message}
    assert not stored_backup.archive(appliance).exists()
    assert sorted(path.name for path in appliance.uploads.iterdir()) == ["backup.json"]


@pytest.mark.parametrize("kind", CANNOT_BE_PACKED)
def test_where_it_is_allowed_answer_log_and_archive_tell_what_is_lacking(appliance: Appliance, kind: str) -> None:
    if "device" in kind and not ROOT:
        pytest.skip("needs root, to make a device")
    CANNOT_BE_PACKED[kind](appliance.data / "db/odd")

    job = back_up(appliance, allowed=True)

    [name] = left_out_of(stored_backup.archive(appliance))
    status = stored_backup.status(appliance) or {}
    [lacking] = status["incomplete"]
    assert (status["status"], lacking.startswith("db/")) == ("success", True)
    assert name == "/".join(lacking.split("/")[:MAX_DEPTH])
    assert [line for line in job.lines if line.startswith(f"{lacking} is left out: it ")]
    with tarfile.open(stored_backup.archive(appliance)) as tar:
        last = tar.getmembers()[-1]
    assert (last.name, last.type, last.mode, last.uid) == (LEFT_OUT, tarfile.REGTYPE, 0o600, os.geteuid())


@pytest.mark.parametrize("seldom", ["pipe", "socket"])
def test_what_holds_nothing_is_no_loss(appliance: Appliance, seldom: str) -> None:
    if seldom == "pipe":
        os.mkfifo(appliance.data / "db/pipe")
    else:
        here = os.open(appliance.data / "db", os.O_PATH)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)

    job = back_up(appliance)

    assert names_in(stored_backup.archive(appliance)) == ["db", "db/plain"]
    assert "incomplete" not in (stored_backup.status(appliance) or {})
    assert [line for line in job.lines if line.startswith(f"db/{seldom} is left out: it is a")]


def test_what_vanishes_meanwhile_is_no_loss_and_what_appears_as_a_link_is_packed(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write(appliance.data / f"db/{name}")
    add_files = packing._Packer.add_files

    def late(packer: Any, files: Any) -> None:
        (appliance.data / "db/a").unlink(missing_ok=True)
        (appliance.data / "db/b").unlink(missing_ok=True)
        (appliance.data / "db/b").symlink_to("c")
        add_files(packer, files)

    monkeypatch.setattr(packing._Packer, "add_files", late)

    job = back_up(appliance)

    assert sorted(names_in(stored_backup.archive(appliance))) == ["db", "db/b", "db/c", "db/plain"]
    assert "db/a is left out: No such file or directory" in job.lines


@pytest.mark.skipif(not ROOT, reason="needs root, to make devices")
def test_more_than_a_hundred_are_counted(appliance: Appliance) -> None:
    for number in range(130):
        device(appliance.data / f"db/{number}")

    back_up(appliance, allowed=True)

    status = stored_backup.status(appliance) or {}
    assert (len(status["incomplete"]), status["incomplete-count"]) == (100, 130)
    assert sorted(left_out_of(stored_backup.archive(appliance))) == sorted(f"db/{number}" for number in range(130))


@pytest.mark.skipif(not ROOT, reason="needs root, to make devices")
def test_a_list_that_would_be_too_long_says_that_anything_may_be_missing(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out, "MAX_SIZE", 100)
    for number in range(30):
        device(appliance.data / f"db/{number}")

    back_up(appliance, allowed=True)

    assert left_out_of(stored_backup.archive(appliance)) == ["."]


@pytest.mark.skipif(not ROOT, reason="needs root, to make devices")
def test_what_is_left_out_can_be_read_back(appliance: Appliance) -> None:
    for name in ("new\nline", 'quo"te', "\u2028", ODD, "x" * 200):
        device(appliance.data / "db" / name)
    deep(appliance.data / "db/deep")

    back_up(appliance, allowed=True)

    content = b"".join(left_out.line(each) for each in left_out_of(stored_backup.archive(appliance)))
    assert {"db/new\nline", 'db/quo"te', "db/\u2028", f"db/{ODD}", f"db/{'x' * 200}"} < left_out.parse(content)


# What the service's user cannot read


@pytest.fixture
def nobodys() -> Iterator[Appliance]:
    """An appliance of a user that is not root, who can reach it."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    made = made_in(directory)
    (made.data / "db/secret").touch(0o600)
    write(made.data / "db/closed/file")
    (made.data / "db/closed").chmod(0o700)
    if ROOT:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", directory], check=True)
    yield made
    subprocess.run(["chmod", "-R", "u+rwX", directory], check=True)
    shutil.rmtree(directory)


def take_away(path: Path) -> None:
    """Let nobody but root read it."""
    if ROOT:
        os.chown(path, 0, 0)
    else:
        path.chmod(0)


def as_nobody(what: Callable[[], object]) -> None:
    if not ROOT:
        with contextlib.suppress(JobError):
            what()
        return
    what()  # imports what it needs, which another user may not be able to read
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            what()
            os._exit(0)
        except JobError:
            os._exit(3)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (0, 3)


@pytest.mark.parametrize("allowed", [False, True])
def test_files_and_directories_that_cannot_be_read_are_lacking(nobodys: Appliance, allowed: bool) -> None:
    for name in ("db/secret", "db/closed"):
        take_away(nobodys.data / name)

    as_nobody(lambda: back_up(nobodys, allowed))

    status = stored_backup.status(nobodys) or {}
    if allowed:
        assert (status["status"], sorted(status["incomplete"])) == ("success", ["db/closed", "db/secret"])
        assert sorted(left_out_of(stored_backup.archive(nobodys))) == ["db/closed", "db/secret"]
    else:
        assert status["status"] == "failed"
        assert "2 of what backup.txt lists cannot be packed" in status["error-message"]
        assert "'db/secret'" in status["error-message"]


@pytest.mark.parametrize("listed", ["db/closed/file", "db/closed/*", "db/*/file", "db/closed"])
def test_what_is_listed_below_a_directory_that_cannot_be_read_is_not_missing_but_lacking(
    nobodys: Appliance, listed: str
) -> None:
    take_away(nobodys.data / "db/closed")
    listing(nobodys, listed, "db/plain")

    as_nobody(lambda: back_up(nobodys))

    status = stored_backup.status(nobodys) or {}
    assert status["status"] == "failed"
    assert "1 of what backup.txt lists cannot be packed: 'db/closed" in status["error-message"]


def test_all_of_a_tree_that_is_as_deep_as_may_be_is_read(appliance: Appliance) -> None:
    listing(appliance, ".")
    os.makedirs(appliance.data / "/".join(["d"] * (MAX_DEPTH - 1)))
    write(appliance.data / "/".join(["d"] * (MAX_DEPTH - 1)) / "file")

    back_up(appliance)
    (appliance.data / "/".join(["d"] * MAX_DEPTH)).mkdir()
    back_up(appliance)
    write(appliance.data / "/".join(["d"] * MAX_DEPTH) / "file")

    with pytest.raises(JobError, match="1 of what backup.txt lists cannot be packed"):
        back_up(appliance)


@pytest.mark.parametrize(("listed", "told"), [("db", True), (".", True), ("db/in*", True), ("db/plain", False)])
def test_another_file_system_below_is_told_of(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, told: bool
) -> None:
    write(appliance.data / "db/inside/file")
    listing(appliance, listed)
    point = str(appliance.data.resolve() / "db/inside").replace(" ", r"\040")
    monkeypatch.setattr(mounts, "MOUNTS", write(tmp_path / "mountinfo", f"36 35 98:0 / {point} rw - ext4 /dev/x rw\n"))

    job = back_up(appliance)

    assert any(line.startswith("db/inside is another file system") for line in job.lines) is told


def test_what_nobody_listens_to_is_forgotten(appliance: Appliance) -> None:
    (appliance.data / "db/out").symlink_to("/etc/passwd")

    assert packing.estimated(Tree(appliance.data, ["db"], Silent())) > 0

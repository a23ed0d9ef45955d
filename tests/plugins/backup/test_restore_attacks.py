"""Restores beside an application's user who owns the data directory, and journals that nobody but the service wrote."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backupkit import Job, back_up, kept, killed, listing, restore, write
from places import found_below

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError
from jidoteki.plugins.backup import restoring, stored_backup
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

NAMES = ("deep/x/file", "fresh/y/file", "one/file", "two/file")
OLD = {name: "old" for name in NAMES if not name.startswith("fresh")}
NEW = dict.fromkeys(NAMES, "new")
MODES = ["merge", "exact"]
STAGING = ".jidoteki-restore-0123456789abcdef"
KEY = "0123456789abcdef" * 2


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    return made


@pytest.fixture
def restorable(appliance: Appliance, tmp_path: Path) -> Path:
    """An appliance with the old data, and a backup of the new ones."""
    listing(appliance, "one", "two", "deep/x", "fresh/y")
    fill(appliance.data, NEW)
    path = kept(appliance, tmp_path)
    for name in ("one", "two", "deep", "fresh"):
        shutil.rmtree(appliance.data / name)
    fill(appliance.data, OLD)
    return path


def fill(directory: Path, contents: dict[str, str]) -> None:
    for name, content in contents.items():
        write(directory / name, content)


def contents(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    found = {str(path.relative_to(directory)): path.read_text() for path in files}
    return {name: text for name, text in found.items() if not name.startswith(".")}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What lies outside of the data directory, with the names that a restore uses."""
    directory = tmp_path / "victim"
    names = (*NAMES, "file", "x/file", "y/file", "new/one/file", "old/0/file", "key", "journal.json")
    fill(directory, dict.fromkeys(names, "victim"))
    return directory


def everything(directory: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_uid, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    return found


# What the application's user does to the directories of his


Trick = Callable[[Path, Path], object]


def to_link(name: str) -> Trick:
    def trick(data: Path, victim: Path) -> None:
        (data / name).rename(data / f"{Path(name).name}-aside")
        (data / name).symlink_to(victim)

    return trick


def staging_to_link(data: Path, victim: Path) -> None:
    [staging] = data.glob(".jidoteki-restore-*")
    staging.rename(data / "staging-aside")
    staging.symlink_to(victim)


def staging_to_another(data: Path, victim: Path) -> None:
    [staging] = data.glob(".jidoteki-restore-*")
    staging.rename(data / "staging-aside")
    fill(staging, {"new/one/file": "forged", "new/deep/x/file": "forged", "key": "forged", "old/0": "forged"})
    staging.chmod(0o700)


def to_another(data: Path, victim: Path) -> None:
    (data / "deep").rename(data / "aside")
    write(data / "deep/x/file", "another")


TRICKS: dict[str, Trick] = {
    "directory above a target": to_link("deep"),
    "target": to_link("one"),
    "directory above, removed": lambda data, victim: shutil.rmtree(data / "deep"),
    "directory above, another one": to_another,
    "staging directory": staging_to_link,
    "staging directory, another one": staging_to_another,
}


@pytest.mark.parametrize("when", range(1, 9))
@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_swapped_at_any_rename_leads_a_restore_nowhere(
    appliance: Appliance,
    restorable: Path,
    victim: Path,
    mode: str,
    trick: str,
    when: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = everything(victim)
    rename, calls = os.rename, iter(range(1, 1000))

    def tricked(source: Any, place: Any, **directories: int) -> None:
        if next(calls) == when:
            with monkeypatch.context() as undone:
                undone.setattr(os, "rename", rename)
                try_to(trick, appliance.data, victim)
        rename(source, place, **directories)

    monkeypatch.setattr(os, "rename", tricked)
    outcome = attempt(lambda: restore(Job(appliance, restorable, mode=mode)))
    monkeypatch.undo()

    assert everything(victim) == before
    assert outcome is None or outcome.startswith(("The restore failed: ", "The restored data are gone"))
    listing(appliance, "two")
    restoring.recover(appliance)
    back_up(appliance)
    assert everything(victim) == before


@pytest.mark.parametrize("when", range(1, 8))
@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_swapped_after_a_kill_leads_the_completion_nowhere(
    appliance: Appliance, restorable: Path, victim: Path, mode: str, trick: str, when: int
) -> None:
    before = everything(victim)
    killed(lambda: restore(Job(appliance, restorable, mode=mode)), when, ("rename",))
    try_to(trick, appliance.data, victim)

    restoring.recover(appliance)

    assert everything(victim) == before
    found = contents(appliance.data)
    assert (found.get("two/file"), found.get("fresh/y/file")) in (("old", None), ("new", "new"))
    listing(appliance, "two")
    back_up(appliance)
    assert everything(victim) == before


def try_to(trick: str, data: Path, victim: Path) -> None:
    try:
        TRICKS[trick](data, victim)
    except OSError:  # what it is done to is away at this moment
        pass


def attempt(what: Callable[[], object]) -> str | None:
    try:
        what()
    except JobError as error:
        return error.message
    return None


def test_a_directory_that_is_taken_out_of_the_data_gets_nothing_new(
    appliance: Appliance, restorable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = os.rename, iter(range(1, 1000))

    def tricked(source: Any, place: Any, **directories: int) -> None:
        if next(calls) == 2:
            rename(appliance.data / "deep", tmp_path / "taken")
        rename(source, place, **directories)

    monkeypatch.setattr(os, "rename", tricked)

    with pytest.raises(JobError, match="The restore failed: deep/x was replaced meanwhile"):
        restore(Job(appliance, restorable, mode="exact"))

    assert contents(tmp_path / "taken") == {"x/file": "old"}
    assert contents(appliance.data) == {"one/file": "old", "two/file": "old"}


@pytest.mark.parametrize("where", ["renamed", "away for a while"])
def test_a_staging_directory_that_was_moved_is_found_by_its_key(
    appliance: Appliance, restorable: Path, tmp_path: Path, where: str
) -> None:
    killed(lambda: restore(Job(appliance, restorable)), 4, ("rename",))
    [staging] = appliance.data.glob(".jidoteki-restore-*")
    if where == "renamed":
        staging.rename(appliance.data / "elsewhere")
    else:
        staging.rename(tmp_path / "elsewhere")
        restoring.recover(appliance)
        (tmp_path / "elsewhere").rename(staging)

    restoring.recover(appliance)

    assert contents(appliance.data) == NEW
    assert not [*appliance.data.glob(".*"), *appliance.jobs.glob("*journal*")]


def test_a_restore_is_completed_though_its_journal_could_not_be_read_for_a_while(
    appliance: Appliance, restorable: Path, tmp_path: Path
) -> None:
    killed(lambda: restore(Job(appliance, restorable)), 4, ("rename",))
    [staging] = appliance.data.glob(".jidoteki-restore-*")
    staging.rename(tmp_path / "elsewhere")
    restoring.recover(appliance)

    appliance.jobs.rename(tmp_path / "jobs")
    time.sleep(3 * restoring.FIRST_PAUSE)  # it was looked for meanwhile
    (tmp_path / "elsewhere").rename(staging)
    (tmp_path / "jobs").rename(appliance.jobs)

    until = time.monotonic() + 20
    while list(appliance.jobs.glob("*journal*")) and time.monotonic() < until:
        time.sleep(0.1)
    assert contents(appliance.data) == NEW


def test_what_could_not_be_put_back_is_kept_and_told(appliance: Appliance, restorable: Path) -> None:
    for when in range(1, 20):
        killed(lambda: restore(Job(appliance, restorable, mode="exact")), when, ("rename",))
        if not (appliance.data / "deep/x/file").exists():
            break
        restoring.recover(appliance)
        (appliance.data / "deep/x/file").write_text("old")
    shutil.rmtree(appliance.data / "deep")
    (appliance.data / "deep").symlink_to("one")

    job = Job(appliance, restorable)
    with pytest.raises(JobError):
        restoring.check(job)

    [told] = [line for line in job.lines if "what was there is kept in" in line]
    place = appliance.data / told.rpartition(" ")[2]
    assert place.read_text() == "old"
    assert not list(appliance.jobs.glob("*journal*"))


def test_what_is_removed_may_be_as_deep_as_it_likes(appliance: Appliance, restorable: Path) -> None:
    directory = os.open(appliance.data / "one", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=directory)
        inner = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    os.close(directory)

    restore(Job(appliance, restorable, mode="exact"))

    assert not list(appliance.data.glob(".*"))


def test_targets_in_more_directories_than_may_be_open_are_restored(appliance: Appliance, tmp_path: Path) -> None:
    names = [f"d{number}/x" for number in range(600)]
    fill(appliance.data, dict.fromkeys(names, "new"))
    listing(appliance, *names)
    path = kept(appliance, tmp_path)
    fill(appliance.data, dict.fromkeys(names, "old"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, limits[1]))
    try:
        restore(Job(appliance, path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert contents(appliance.data) == dict.fromkeys(names, "new")


# Names that are the program's own


RESERVED = [
    ".jidoteki-restore-evil", ".jidoteki-", ".jidoteki-evil", "./.jidoteki-evil", ".JIDOTEKI-evil",
    "app/.jidoteki-evil", "app/./.Jidoteki-Restore-x", ".jidote\u212ai-evil", ".jidoteki\u200b-evil",
    "\u2060.jidoteki-evil", "\uff0ejidoteki-evil", ".jidoteki\uff0devil",
]  # fmt: skip


def planted(name: str) -> bytes:
    """An archive with what looks like a restore that was killed, and would put a file outside of the data directory."""
    plan = [["app/../../etc/cron.d/pwned", True]]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in (
            "app",
            name,
            f"{name}/new",
            f"{name}/new/app",
            f"{name}/old",
            f"{name}/etc",
            f"{name}/etc/cron.d",
        ):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(info)
        for file, content in (
            ("journal.json", json.dumps(plan)),
            ("key", KEY),
            ("etc/cron.d/pwned", "* * * * * root id\n"),
        ):
            info = tarfile.TarInfo(f"{name}/{file}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    (host.appliance.etc / "backup.txt").write_text(".\n")
    (host.appliance.root / "etc/cron.d").mkdir(parents=True)
    return host


def outside(host: Host) -> list[Path]:
    return [path for path in found_below(host.appliance.root, "*pwned*") if host.appliance.data not in path.parents]


def backed_up(host: Host) -> str:
    host.post("/backup", "-F", "action=START")
    return str(host.wait_for_job("/backup")["status"])


def test_no_archive_brings_what_is_the_programs_own(host: Host, tmp_path: Path) -> None:
    answers = {}
    for name in RESERVED:
        (tmp_path / "evil.tar").write_bytes(planted(name))
        answers[name] = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/evil.tar")
    statuses = [backed_up(host)]
    host.stop()
    host.start()
    statuses.append(backed_up(host))

    assert {answer.status for answer in answers.values()} == {400}
    assert all("has a name that is the program's own" in each.json["Error-Message"] for each in answers.values())
    assert outside(host) == []
    assert statuses == ["success", "success"]


def test_what_others_put_into_the_data_directory_under_such_names_is_neither_followed_nor_packed(
    host: Host, tmp_path: Path
) -> None:
    data = host.appliance.data
    for name in RESERVED:
        with tarfile.open(fileobj=io.BytesIO(planted(name))) as tar:
            tar.extraction_filter = lambda member, path: member
            tar.extractall(data)
    host.stop()
    host.start()

    status = backed_up(host)
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    restored = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar")

    with tarfile.open(tmp_path / "backup.tar") as tar:
        names = tar.getnames()
    assert (status, restored.status) == ("success", 200)
    assert names and not [name for name in names if "pwned" in name or "journal" in name]
    assert outside(host) == []


@pytest.mark.parametrize("line", [*RESERVED, "a/../.jidoteki-evil", "/.jidoteki-evil", ".jidoteki-evil/below"])
def test_the_list_may_not_name_what_is_the_programs_own(appliance: Appliance, line: str) -> None:
    listing(appliance, line)

    with pytest.raises(JobError, match="not a path below the data directory"):
        back_up(appliance)


# Journals


def entry(plan: object, **fields: object) -> bytes:
    return json.dumps({"staging": STAGING, "key": KEY, "plan": plan, **fields}).encode()


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


JOURNALS: dict[str, Callable[[Path], object]] = {
    "path that leads up": written(entry([["app/../../etc/cron.d/pwned", True]])),
    "path that leads up at once": written(entry([["../etc/cron.d/pwned", True]])),
    "absolute path": written(entry([["/etc/cron.d/pwned", True]])),
    "the data directory": written(entry([[".", False]])),
    "empty path": written(entry([["", False]])),
    "path with a dot": written(entry([["./app", False]])),
    "path with an end": written(entry([["app/", False]])),
    "path with NUL": written(entry([["app\0", False]])),
    "path that is no name": written(entry([["\ud800", False]])),
    "path of the program's own": written(entry([[STAGING, False]])),
    "path twice": written(entry([["app", True], ["app", False]])),
    "no path": written(entry([[7, True]])),
    "no pair": written(entry([["app"]])),
    "dictionaries": written(entry([{"app": True}])),
    "a dictionary": written(entry({"app": True})),
    "a word": written(entry("app")),
    "something else than a boolean": written(entry([["app", 1]])),
    "staging elsewhere": written(entry([["app", True]], staging="../../tmp")),
    "staging of another name": written(entry([["app", True]], staging="app")),
    "staging with an end": written(entry([["app", True]], staging=f"{STAGING}/..")),
    "empty key": written(entry([["app", True]], key="")),
    "key of another kind": written(entry([["app", True]], key=None)),
    "more than it should hold": written(entry([["app", True]], more=1)),
    "list of renames alone": written(b'[["app", true]]'),
    "number": written(b"7"),
    "nothing": written(b""),
    "not JSON": written(b"{"),
    "not UTF-8": written(b"\xff\xfe{"),
    "nested": written(b"[" * 1_000_000),
    "huge": huge,
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
}


def put_staging(data: Path) -> None:
    """A directory that a journal could mean, from which renames could be made."""
    fill(data / STAGING, {"key": KEY, "new/app/settings.json": "planted", "etc/cron.d/pwned": "planted"})
    (data / STAGING / "old").mkdir()
    (data / STAGING).chmod(0o700)


@pytest.mark.parametrize("kind", JOURNALS)
def test_a_journal_that_makes_no_sense_is_set_aside_and_told_of(host: Host, tmp_path: Path, kind: str) -> None:
    before = contents(host.appliance.data)
    host.stop()
    put_staging(host.appliance.data)
    JOURNALS[kind](host.appliance.jobs / "000009-restore.journal")

    host.start()
    status = backed_up(host)
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    restored = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/backup.tar")

    assert (status, restored.status) == ("success", 200)
    assert contents(host.appliance.data) == before
    assert outside(host) == []
    assert len([*host.appliance.jobs.glob("000009-restore.journal-damaged-*")]) == 1
    wait_until(
        lambda: "The journal of 000009-restore makes no sense and is not followed" in host.errors() + service_log(host)
    )


def service_log(host: Host) -> str:
    return (host.appliance.log / "jidoteki-admin-api.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of another user")
@pytest.mark.parametrize("what", ["another user's", "open to others", "of another key", "without a key", "a link"])
def test_a_journal_is_not_followed_into_a_directory_that_is_not_its_own(
    appliance: Appliance, restorable: Path, tmp_path: Path, what: str
) -> None:
    put_staging(appliance.data)
    staging = appliance.data / STAGING
    if what == "another user's":
        os.chown(staging, 1234, 1234)
    elif what == "open to others":
        staging.chmod(0o755)
    elif what == "of another key":
        (staging / "key").write_text("f" * 32)
    elif what == "without a key":
        (staging / "key").unlink()
    else:
        subprocess.run(["mv", staging, tmp_path / "elsewhere"], check=True)
        staging.symlink_to(tmp_path / "elsewhere")
    (appliance.jobs / "000009-restore.journal").write_bytes(entry([["one", False], ["app", True]]))

    restoring.recover(appliance)
    back_up(appliance)

    assert contents(appliance.data) == OLD
    assert (stored_backup.status(appliance) or {})["status"] == "success"


def test_a_name_that_others_took_before_is_no_hindrance(appliance: Appliance, restorable: Path) -> None:
    for number in range(5):
        (appliance.data / f".jidoteki-restore-00000{number}-restore").mkdir()

    restore(Job(appliance, restorable))

    assert contents(appliance.data) == NEW

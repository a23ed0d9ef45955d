"""Restores into a data directory that is in use: what the archive lacks stays, as when `tar -x` unpacks it there."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from backupkit import Job, killed, listing, restore, tree, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError, mounts
from jidoteki.hookspecs.restorable import LEFT_OUT
from jidoteki.plugins.backup import left_out, plan_lines, restoring
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

ROOT = os.geteuid() == 0
MODES = ["merge", "exact"]


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    listing(made, "app", "deep/x")
    return made


def archived(directory: Path, into: Path, *arguments: str) -> Path:
    """What `tar` packs of a directory."""
    subprocess.run(["tar", "-C", directory, "-cf", into, *arguments], check=True)
    return into


def contents(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def member(name: str, type: bytes = tarfile.REGTYPE, content: bytes = b"", **fields: Any) -> tuple[Any, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = type, len(content), 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def written(path: Path, *members: tuple[Any, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


# What the archive lacks


def test_what_the_archive_lacks_stays_and_its_open_files_go_on(appliance: Appliance, tmp_path: Path) -> None:
    for name in ("app/config", "app/db/table", "deep/x/file"):
        write(appliance.data / name, "from the archive")
    archive = archived(appliance.data, tmp_path / "a.tar", "app", "deep/x")
    write(appliance.data / "app/config", "changed")
    for name in ("app/later", "app/db/journal", "app/new/below", "deep/x/own", "deep/other", "beside"):
        write(appliance.data / name, "mine")
    with socket.socket(socket.AF_UNIX) as server, (appliance.data / "app/db/journal").open("a") as file:
        server.bind(os.path.relpath(appliance.data / "app/socket"))
        directories = {name: (appliance.data / name).stat().st_ino for name in ("app", "app/db", "deep", "deep/x")}

        restore(Job(appliance, archive))
        file.write(" and more")

    assert contents(appliance.data) == {
        **dict.fromkeys(("app/config", "app/db/table", "deep/x/file"), "from the archive"),
        **dict.fromkeys(("app/later", "app/new/below", "deep/x/own", "deep/other", "beside"), "mine"),
        "app/db/journal": "mine and more",
    }
    assert stat.S_ISSOCK((appliance.data / "app/socket").stat().st_mode)
    assert {name: (appliance.data / name).stat().st_ino for name in directories} == directories
    assert not [*appliance.data.glob(".*"), *appliance.jobs.glob("*journal*")]


@pytest.mark.parametrize("filled", [False, True])
def test_a_directory_gives_way_to_a_file_when_nothing_is_lost_with_it(
    appliance: Appliance, tmp_path: Path, filled: bool
) -> None:
    archive = written(tmp_path / "a.tar", member("app/one", content=b"new"), member("app/place", content=b"new"))
    (appliance.data / "app/place").mkdir(parents=True)
    if filled:
        write(appliance.data / "app/place/mine", "old")
    before = contents(appliance.data)

    if filled:
        with pytest.raises(JobError, match="'app/place' cannot be restored: a directory is there, which is not empty"):
            restore(Job(appliance, archive))
    else:
        restore(Job(appliance, archive))

    assert contents(appliance.data) == (before if filled else {"app/one": "new", "app/place": "new"})


def test_a_directory_that_is_filled_after_it_was_looked_at_takes_all_back(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = written(tmp_path / "a.tar", *(member(f"app/{name}", content=b"new") for name in ("a", "place", "z")))
    for name in ("a", "z"):
        write(appliance.data / "app" / name, "old")
    (appliance.data / "app/place").mkdir()
    rename, first = os.rename, iter([True])

    def filling(source: str, target: str, **directories: int) -> None:
        if source == "place" and next(first, False):
            write(appliance.data / "app/place/mine", "old")
        rename(source, target, **directories)

    monkeypatch.setattr(os, "rename", filling)
    with pytest.raises(JobError, match="The restore failed: app/place was replaced meanwhile"):
        restore(Job(appliance, archive))

    assert contents(appliance.data) == {"app/a": "old", "app/z": "old", "app/place/mine": "old"}


def test_more_entries_than_a_line_of_the_plan_holds_are_restored_and_taken_back(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"app/{number % 7}/{number}" for number in range(4 * plan_lines.BATCH)] + [
        f"app/{n}" for n in range(100, 800)
    ]
    for name in names:
        write(appliance.data / name, "new")
    archive = archived(appliance.data, tmp_path / "a.tar", "app")
    for name in names:
        write(appliance.data / name, "old")
    write(appliance.data / "app/own", "old")
    rename, calls = os.rename, iter(range(100_000))

    def failing(*arguments: Any, **options: Any) -> None:
        if next(calls) == 3000:
            raise OSError(18, "Invalid cross-device link")
        rename(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(JobError, match="Invalid cross-device link"):
            restore(Job(appliance, archive))
    taken_back = contents(appliance.data)
    restore(Job(appliance, archive))

    assert taken_back == dict.fromkeys([*names, "app/own"], "old")
    assert contents(appliance.data) == {**dict.fromkeys(names, "new"), "app/own": "old"}


# As tar


NAMES = st.sampled_from(["a", "b", "c"])
LEAF = st.one_of(
    st.tuples(st.just("file"), st.sampled_from(["x", "y"]), st.sampled_from([0o600, 0o644, 0o755])),
    st.tuples(st.just("link"), st.sampled_from(["a", "b/c", "nowhere"]), st.just(0)),
)
TREE = st.recursive(
    st.dictionaries(NAMES, LEAF, max_size=3), lambda below: st.dictionaries(NAMES, LEAF | below), max_leaves=8
)


def build(root: Path, tree: dict[str, Any], time: int) -> None:
    root.mkdir(exist_ok=True)
    for name, what in tree.items():
        path = root / name
        if isinstance(what, dict):
            build(path, what, time)
        elif what[0] == "link":
            path.symlink_to(what[1])
        else:
            path.write_text(what[1])
            path.chmod(what[2])
    root.chmod(0o750 if time % 2 else 0o755)
    os.utime(root, (time, time))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=TREE, coming=TREE, dots=st.booleans())
def test_a_restore_leaves_what_tar_leaves(
    tmp_path_factory: pytest.TempPathFactory, there: dict[str, Any], coming: dict[str, Any], dots: bool
) -> None:
    top = tmp_path_factory.mktemp("merge")
    appliance = Appliance(top / "root", top / "root/admin")
    appliance.prepare()
    appliance.data.mkdir()
    listing(appliance, "app")
    (top / "new").mkdir()
    build(top / "new/app", coming, 1001)
    build(appliance.data / "app", there, 2000)
    shutil.copytree(appliance.data, top / "tar", symlinks=True)
    archive = archived(top / "new", top / "a.tar", "./app/" if dots else "app")

    unpacked = subprocess.run(["tar", "-C", top / "tar", "-xpf", archive], capture_output=True, check=False)
    if unpacked.returncode:
        before = tree(appliance.data)
        with pytest.raises(JobError):
            restore(Job(appliance, archive))
        assert tree(appliance.data) == before
    else:
        restore(Job(appliance, archive))
        assert comparable(appliance.data) == comparable(top / "tar")
    shutil.rmtree(top)


def comparable(root: Path) -> dict[str, tuple[object, ...]]:
    """A tree without the times that depend on when it was unpacked."""
    return {
        name: (mode, uid, gid, content, time if stat.S_ISDIR(mode) and time == 1001 * 10**9 else None)  # type: ignore[arg-type]
        for name, (mode, uid, gid, time, content) in tree(root).items()
    }


@pytest.mark.skipif(not ROOT, reason="only root gives files to others")
def test_a_directory_in_both_gets_the_archives_metadata_and_one_above_what_is_listed_keeps_its_own(
    appliance: Appliance, tmp_path: Path
) -> None:
    for name, mode, owner in (("app", 0o2750, 1234), ("deep", 0o700, 1234), ("deep/x", 0o711, 1235)):
        write(appliance.data / name / "file", "new")
        (appliance.data / name).chmod(mode)
        os.chown(appliance.data / name, owner, owner)
        os.utime(appliance.data / name, (1000, 1000))
        (appliance.data / name).chmod(mode)
    archive = archived(appliance.data, tmp_path / "a.tar", "--no-recursion", "app", "app/file", "deep", "deep/x")
    for name in ("app", "deep", "deep/x"):
        os.chown(appliance.data / name, 0, 0)
        (appliance.data / name).chmod(0o755)

    restore(Job(appliance, archive))

    found = {name: (appliance.data / name).stat() for name in ("app", "deep", "deep/x")}
    assert {name: (stat.S_IMODE(each.st_mode), each.st_uid) for name, each in found.items()} == {
        "app": (0o2750, 1234),
        "deep": (0o755, 0),
        "deep/x": (0o711, 1235),
    }
    assert (found["app"].st_mtime, found["deep/x"].st_mtime) == (1000, 1000)


@pytest.mark.skipif(not ROOT, reason="only root gives files to others")
@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_the_archive_does_not_list_stays_or_becomes_like_the_one_above(
    appliance: Appliance, tmp_path: Path, mode: str
) -> None:
    os.chown(appliance.data, 1234, 1235)
    appliance.data.chmod(0o751)
    write(appliance.data / "app/there/file", "old")
    (appliance.data / "app/there").chmod(0o700)
    listing(appliance, "app/there/file", "app/missing/a/b", "fresh/x")
    members = [member(f"{name}/file", content=b"new") for name in ("app/there", "app/missing/a/b", "fresh/x")]

    restore(Job(appliance, written(tmp_path / "a.tar", *members), mode=mode))

    def of(name: str) -> tuple[int, int, int]:
        status = (appliance.data / name).stat()
        return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)

    assert of("app/there") == (0, 0, 0o700)
    assert {of(name) for name in ("fresh", "fresh/x")} == {(1234, 1235, 0o751)}
    assert {of(name) for name in ("app/missing", "app/missing/a")} == {of("app")}
    assert (appliance.data / "app/missing/a/b/file").read_text() == "new"


def test_what_tar_of_the_original_packed_is_restored(appliance: Appliance, tmp_path: Path) -> None:
    source = tmp_path / "source"
    long = "app/" + "/".join(["directory" * 10] * 4) + "/file"
    write(source / long, "long")
    write(source / "app/one", "linked")
    os.link(source / "app/one", source / "app/two")
    (source / "app/link").symlink_to("one")
    os.link(source / "app/link", source / "app/link too", follow_symlinks=False)
    os.mkfifo(source / "app/pipe")
    os.mkfifo(source / "app/pipe too")
    write(source / "deep/x/file", "deep")
    archive = archived(source, tmp_path / "a.tar", "--format=gnu", "./app/", "deep/x")
    job = Job(appliance, archive)

    restore(job)

    linked = ("app/one", "app/two", "app/link", "app/link too")
    assert contents(appliance.data) == {long: "long", "deep/x/file": "deep", **dict.fromkeys(linked, "linked")}
    assert (appliance.data / "app/one").stat().st_ino == (appliance.data / "app/two").stat().st_ino
    assert os.readlink(appliance.data / "app/link too") == "one"
    assert "./app/pipe: is left out: it is a named pipe" in job.lines


HARD_LINKS = {
    "to nothing": [member("app/b", tarfile.LNKTYPE, linkname="app/a")],
    "out": [member("app/b", tarfile.LNKTYPE, linkname="../../etc/passwd")],
    "absolute": [member("app/b", tarfile.LNKTYPE, linkname="/etc/passwd")],
    "to itself": [member("app/b", tarfile.LNKTYPE, linkname="app/b")],
    "to a directory": [member("app/a", tarfile.DIRTYPE), member("app/b", tarfile.LNKTYPE, linkname="app/a")],
    "through a link": [
        member("app/a/f", content=b"x"),
        member("app/l", tarfile.SYMTYPE, linkname="a"),
        member("app/b", tarfile.LNKTYPE, linkname="app/l/f"),
    ],
    "to a link that leads out from there": [
        member("app/a/l", tarfile.SYMTYPE, linkname="../../deep"),
        member("l", tarfile.LNKTYPE, linkname="app/a/l"),
    ],
    "with a size": [member("app/a"), member("app/b", tarfile.LNKTYPE, content=b"x", linkname="app/a")],
    "of a reserved name": [member("app/a"), member("app/.jidoteki-b", tarfile.LNKTYPE, linkname="app/a")],
    "to the list": [member(LEFT_OUT), member("app/b", tarfile.LNKTYPE, linkname=LEFT_OUT)],
    "to what comes later": [member("app/b", tarfile.LNKTYPE, linkname="app/a"), member("app/a")],
}


@pytest.mark.parametrize("kind", HARD_LINKS)
def test_a_hard_link_that_leads_elsewhere_is_refused(appliance: Appliance, tmp_path: Path, kind: str) -> None:
    with pytest.raises(JobError, match="The archive's member"):
        restore(Job(appliance, written(tmp_path / "a.tar", *HARD_LINKS[kind])))

    assert list(appliance.data.iterdir()) == []


# What an exact restore keeps


def test_an_exact_restore_keeps_what_the_archive_says_that_it_lacks(appliance: Appliance, tmp_path: Path) -> None:
    missing = ["app/secret", "app/closed", "app/far/down/socket", "app/odd \udcff"]
    lines = b"".join(map(left_out.line, missing))
    archive = written(
        tmp_path / "a.tar",
        member("app", tarfile.DIRTYPE),
        member("app/file", content=b"new"),
        member("app/closed", tarfile.DIRTYPE),
        member("app/far", tarfile.DIRTYPE),
        member(LEFT_OUT, content=lines),
    )
    kept = ("app/secret", "app/closed/in/side", "app/far/down/socket", "app/odd \udcff")
    gone = ("app/later", "app/far/beside", "app/far/down/beside", "app/others/in")
    for name in (*kept, *gone, "app/file", "beside"):
        write(appliance.data / name, "old")

    restore(Job(appliance, archive, mode="exact"))

    assert contents(appliance.data) == {**dict.fromkeys((*kept, "beside"), "old"), "app/file": "new"}
    assert sorted(os.listdir(appliance.data / "app")) == ["closed", "far", "file", "odd \udcff", "secret"]
    assert not list(appliance.data.glob(".*"))


def test_an_exact_restore_keeps_what_is_mounted(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(appliance.data / "app/in side/mounted", "old")
    write(appliance.data / "app/later", "old")
    point = str(appliance.data.resolve() / "app/in side").replace(" ", r"\040")
    monkeypatch.setattr(mounts, "MOUNTS", write(tmp_path / "mountinfo", f"36 35 98:0 / {point} rw - ext4 /dev/x rw\n"))

    restore(Job(appliance, written(tmp_path / "a.tar", member("app/file", content=b"new")), mode="exact"))

    assert contents(appliance.data) == {"app/in side/mounted": "old", "app/file": "new"}


LISTS = {
    "absolute": b'"/etc"\n',
    "up": b'"app/../.."\n',
    "NUL": b'"a\\u0000"\n',
    "number": b"7\n",
    "no JSON": b"app\n",
    "nested": b"[" * 100_000,
    "empty path": b'""\n',
    "no name": b'"\\ud800"\n',
    "too deep": json.dumps("d/" * 300).encode(),
    "too long": b'"app"\n' * (left_out.MAX_SIZE // 6 + 1),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_makes_no_sense_refuses_an_exact_restore_and_no_other(
    appliance: Appliance, tmp_path: Path, kind: str
) -> None:
    archive = written(tmp_path / "a.tar", member("app/file", content=b"new"), member(LEFT_OUT, content=LISTS[kind]))
    write(appliance.data / "app/own", "old")

    with pytest.raises(JobError, match="The archive's list of what it lacks makes no sense"):
        restore(Job(appliance, archive, mode="exact"))
    refused = contents(appliance.data)
    restore(Job(appliance, archive))

    assert refused == {"app/own": "old"}
    assert contents(appliance.data) == {"app/own": "old", "app/file": "new"}


@pytest.mark.parametrize("name", [f"app/{LEFT_OUT}", LEFT_OUT.upper(), f"{LEFT_OUT}/file", f"{LEFT_OUT}2"])
def test_no_other_name_than_the_lists_own_is_let_through(appliance: Appliance, tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="has a name that is the program's own"):
        restore(Job(appliance, written(tmp_path / "a.tar", member("app/file"), member(name))))


# Plans that somebody changed


def line(directory: object = "app", entries: object = None, time: object = None, **more: object) -> bytes:
    found = {"a": "put"} if entries is None else entries
    return json.dumps({"directory": directory, "entries": found, "time": time, **more}).encode() + b"\n"


PLANS = {
    "directory that leads up": line("app/.."),
    "absolute directory": line("/etc"),
    "directory with a dot": line("./app"),
    "reserved directory": line(".jidoteki-x"),
    "no directory": line(7),
    "name that leads up": line(entries={"..": "put"}),
    "name with a slash": line(entries={"a/b": "put"}),
    "empty name": line(entries={"": "put"}),
    "name with NUL": line(entries={"a\0": "put"}),
    "name that is none": line(entries={"\ud800": "put"}),
    "reserved name": line(entries={".Jidoteki-x": "remove"}),
    "unknown action": line(entries={"a": "delete"}),
    "no action": line(entries={"a": ["put"]}),
    "list of entries": line(entries=["a"]),
    "time that is none": line(time=True),
    "more": line(more=1),
    "nothing": b"",
    "two lines": line() * 2,
    "cut off": line()[:-5],
    "nested": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe\n",
    "long": line(entries={"a" * (plan_lines.MAX_LINE + 1): "put"}),
}


@pytest.mark.parametrize("kind", PLANS)
def test_a_plan_that_makes_no_sense_is_not_followed(
    appliance: Appliance, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(appliance.data / "app/a", "old")
    archive = written(tmp_path / "a.tar", member("app/a", content=b"new"))
    killed(lambda: restore(Job(appliance, archive)), 1, ("rename",))
    [plan] = appliance.jobs.glob("*.journal-plan")
    [journal] = appliance.jobs.glob("*.journal")
    assert json.loads(journal.read_text())["plan"] == 1
    plan.write_bytes(PLANS[kind])

    restoring.recover(appliance)

    assert contents(appliance.data)["app/a"] == "old"
    assert "makes no sense and is not followed" in caplog.text
    assert not journal.exists()


# Over HTTP


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    (host.appliance.etc / "backup.txt").write_text("app\n")
    write(host.appliance.data / "app/file", "old")
    write(host.appliance.data / "app/own", "old")
    return host


def posted(host: Host, tmp_path: Path, *fields: str) -> Any:
    archive = written(tmp_path / "backup.tar", member("app/file", content=b"new"))
    form = [each for field in (f"archive=@{archive}", *fields) for each in ("-F", field)]
    return host.post("/backup/restore", *form)


@pytest.mark.parametrize(("fields", "own"), [((), True), (("mode=merge",), True), (("mode=exact",), False)])
def test_the_mode_decides_whether_what_the_archive_lacks_stays(
    host: Host, tmp_path: Path, fields: tuple[str, ...], own: bool
) -> None:
    answer = posted(host, tmp_path, *fields)

    gone = ["app/current", "app/own", "app/settings.json", "app/uploads/"]
    removed = {} if own else {"removed": {"files": 4, "paths": gone}}
    assert (answer.status, answer.json) == (200, {"Status": "200 OK", **removed})
    assert (host.appliance.data / "app/file").read_text() == "new"
    assert (host.appliance.data / "app/own").exists() == own


@pytest.mark.parametrize("mode", ["", "MERGE", "all", "exact,merge"])
def test_another_mode_is_refused_and_nothing_restored(host: Host, tmp_path: Path, mode: str) -> None:
    answer = posted(host, tmp_path, f"mode={mode}")

    assert answer.status == 400
    assert (host.appliance.data / "app/file").read_text() == "old"


def test_a_restore_is_told_in_the_log_of_backups_as_the_original_did(host: Host, tmp_path: Path) -> None:
    posted(host, tmp_path)
    good = (host.appliance.log / "update_backup.log").read_text().splitlines()
    (tmp_path / "bad.tar").write_bytes(b"nonsense")
    host.post("/backup/restore", "-F", f"archive=@{tmp_path}/bad.tar")
    bad = (host.appliance.log / "update_backup.log").read_text().splitlines()

    started = f"[LIVE IMAGE] Restoring backup archive to {host.appliance.data}"
    assert [each.partition("]")[2] for each in good] == [started, "[LIVE IMAGE] Restore complete"]
    assert bad[len(good)].endswith(started) and bad[-1].endswith("[LIVE IMAGE] Restore failed")
    assert host.get("/backup/log").body.decode().splitlines() == bad
    assert not (host.appliance.log / "update_restore.log").exists()


@pytest.mark.parametrize("name", ["backup.tar.gz", "backup.tgz", "backup.tar"])
def test_a_compressed_archive_is_restored(host: Host, tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    subprocess.run(["tar", "-C", host.appliance.data, "-czf", archive, "app"], check=True)
    (host.appliance.data / "app/file").write_text("changed")

    answer = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert answer.status == 200
    assert (host.appliance.data / "app/file").read_text() == "old"


@pytest.mark.parametrize("kind", ["cut off", "damaged", "not tar", "endless"])
def test_a_compressed_archive_that_is_none_is_refused(host: Host, tmp_path: Path, kind: str) -> None:
    content = gzip.compress(written(tmp_path / "a.tar", member("app/file", content=os.urandom(5000))).read_bytes())
    (tmp_path / "bad").write_bytes(
        {
            "cut off": content[:-20],
            "damaged": content[:2000] + bytes(100) + content[2100:],
            "not tar": gzip.compress(b"nonsense" * 1000),
            "endless": gzip.compress(b"0" * 50_000_000),
        }[kind]
    )

    answer = host.post("/backup/restore", "-F", f"archive=@{tmp_path}/bad")

    assert answer.status == 400 and answer.json["Error-Message"].startswith("The archive")
    assert (host.appliance.data / "app/file").read_text() == "old"

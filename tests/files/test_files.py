"""Files that are whole at any moment, also when many write and when writers are killed."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from obstacles import OBSTACLES, obstruct, remove

from jidoteki.core import files
from jidoteki.core.files import leftovers

WRITER = """
import sys
from pathlib import Path
from jidoteki.core import files
root, mark, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    content = f"{mark}{number}".encode()
    paths = [root / f"{mark}/a", root / f"{mark}/b"]
    files.replace_files({path: content for path in paths}, root, {path: 0o600 for path in paths})
    assert [path.read_bytes() for path in paths] == [content, content]
"""


def test_writers_of_other_files_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), mark, "100"], stderr=subprocess.PIPE)
        for mark in ("x", "y", "z")
    ]

    assert [(writer.wait(), writer.stderr.read() if writer.stderr else b"") for writer in writers] == [(0, b"")] * 3


KILLED = """
import os, signal, sys
from pathlib import Path
from jidoteki.core import files
root, when = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
for name in ("fsync", "rename", "replace", "unlink", "open", "fchmod"):
    setattr(os, name, counted(getattr(os, name)))
paths = [root / "one/a", root / "two/b", root / "two/c"]
files.replace_files({path: b"new" for path in paths}, root, {path: 0o600 for path in paths})
"""


@pytest.mark.parametrize("when", range(1, 60))
def test_killed_at_any_step_all_are_old_or_all_are_new(tmp_path: Path, when: int) -> None:
    paths = [tmp_path / "one/a", tmp_path / "two/b", tmp_path / "two/c"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"old")

    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(when)], check=False)
    files.finish_replacing(tmp_path)
    leftovers.remove_temporaries(tmp_path, below=True)

    assert len({path.read_bytes() for path in paths}) == 1
    assert not list(tmp_path.rglob(".jidoteki-*"))


def test_a_full_disk_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    script = f"""
import resource, signal
from pathlib import Path
from jidoteki.core import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
path = Path({str(path)!r})
try:
    files.replace_files({{path: b"n" * 5000}}, path.parent, {{path: 0o600}})
except OSError:
    raise SystemExit(7)
"""

    done = subprocess.run([sys.executable, "-c", script], check=False)

    assert done.returncode == 7
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir() if each.name != "replace.lock"] == ["a"]


def test_only_one_creates_a_file(tmp_path: Path) -> None:
    assert files.create_file(tmp_path / "token", b"mine")
    assert not files.create_file(tmp_path / "token", b"other")
    assert (tmp_path / "token").read_bytes() == b"mine"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


async def test_a_cached_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    cached = files.CachedFile(path, bytes.decode)
    assert cached.get() is None

    path.write_text("one")
    await asyncio.sleep(0)
    first = cached.get()
    files.replace_file(path, b"two")
    same_step = cached.get()
    await asyncio.sleep(0)
    second = cached.get()
    path.unlink()
    await asyncio.sleep(0)

    assert (first, same_step, second, cached.get()) == ("one", "one", "two", None)


async def test_what_is_received_after_a_file_changed_is_answered_with_the_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    cached = files.CachedFile(path, bytes.decode)
    answers: list[str | None] = []
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        asyncio.get_running_loop().add_reader(near, lambda: answers.append(cached.get() if near.recv(1) else None))
        for size in range(1000):
            cached.get()  # in the very step in which the file changes
            path.write_text("x" * size)
            far.send(b"?")
            while len(answers) <= size:
                await asyncio.sleep(0)
        asyncio.get_running_loop().remove_reader(near)

    assert answers == ["x" * size for size in range(1000)]


UNDOING = KILLED.replace("files.replace_files", """
import errno
rename = os.rename
def obstructed(source, target, **options):
    if target == "c":
        raise OSError(errno.EBUSY, "It is mounted")
    return rename(source, target, **options)
if obstacle == "obstructed":
    os.rename = obstructed
files.replace_files""").replace("when = Path(sys.argv[1]), int(sys.argv[2])",
                               "when, obstacle = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]")  # fmt: skip


@pytest.mark.parametrize("when", range(1, 100, 2))
@pytest.mark.parametrize("afterwards", ["obstructed", "free"])
def test_killed_while_taking_back_all_are_old_or_all_are_new(tmp_path: Path, when: int, afterwards: str) -> None:
    paths = [tmp_path / "one/a", tmp_path / "two/b", tmp_path / "two/c"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
    for path in paths[1:]:
        path.write_bytes(b"old")
    finish = (
        UNDOING.partition("\npaths = ")[0] + UNDOING[UNDOING.index("\nimport errno") :].partition("\nfiles.repl")[0]
    )

    for script, step, obstacle in (
        (UNDOING, when, "obstructed"),
        (f"{finish}\nfiles.finish_replacing(root)", 0, afterwards),
    ):
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), str(step), obstacle], check=False, capture_output=True
        )
    leftovers.remove_temporaries(tmp_path, below=True)

    now = [path.read_bytes() if path.exists() else None for path in paths]
    assert now in ([None, b"old", b"old"], [b"new"] * 3)
    assert not list(tmp_path.rglob(".jidoteki-*"))


@pytest.mark.parametrize("last", [False, True])
def test_when_one_file_cannot_be_replaced_none_is(tmp_path: Path, last: bool) -> None:
    jobs, etc = tmp_path / "jobs", tmp_path / "etc"
    jobs.mkdir()
    etc.mkdir()
    (etc / "old").write_text("old")
    if not obstruct(etc / "held", "immutable file"):
        pytest.skip("this system can have no immutable file")
    order = [etc / "old", etc / "new", etc / "held"]

    with pytest.raises(OSError, match="held is immutable or append-only") as caught:
        files.replace_files(dict.fromkeys(order if last else order[::-1], b"new"), jobs, dict.fromkeys(order, 0o600))

    assert {each.name: each.read_text() for each in etc.iterdir()} == {"old": "old", "held": "immutable\n"}
    assert caught.value.filename == str(etc / "held")
    assert [each.name for each in jobs.iterdir()] == ["replace.lock"]
    remove(etc / "held")
    files.replace_files(dict.fromkeys(order, b"new"), jobs, dict.fromkeys(order, 0o600))
    assert {each.name: each.read_text() for each in etc.iterdir()} == dict.fromkeys(("old", "new", "held"), "new")


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))

    assert files.tail(path, 2) == "line 99998\nline 99999"
    assert files.tail(tmp_path / "missing", 2) is None


def journal(directory: Path, renames: object, mode: int = 0o600) -> Path:
    """Write a journal as a killed writer leaves it, or somebody else makes it."""
    path = directory / ".jidoteki-replace.json"
    path.write_bytes(renames if isinstance(renames, bytes) else json.dumps(renames).encode())
    path.chmod(mode)
    return path


FIRST = ".jidoteki-0123456789abcdef"


@pytest.mark.parametrize(
    "renames",
    [
        b"", b"{", b"\xff", b"null", b"7", b"[" * 100_000, b" " * 2_000_000, [7], [[]], [["/a"]], [["/a", "/b", "/c"]],
        [["/a", 7]], [[None, None]], {"a": "b"}, [["$/victim", "$/target"]], [[f"$/{FIRST}", "$/other/target"]],
        [[f"other/{FIRST}", "other/target"]], [[f"$/{FIRST}", f"$/{FIRST}"]], [["$/.jidoteki-x", "$/target"]],
        [[f"$/{FIRST}", "$/.jidoteki-replace.json"]], [[f"$/{FIRST}", "$/"]], [[f"$/{FIRST}", "$/.."]],
        [[f"$/{FIRST}\0", "$/target\0"]], [["$/victim", "$/target"], [f"$/{FIRST}", "$/target"]],
        [[f"$/{FIRST}", "$/target"]] * 2000,
    ],
)  # fmt: skip
def test_a_journal_that_the_service_cannot_have_written_is_set_aside(tmp_path: Path, renames: object) -> None:
    jobs, etc = tmp_path / "jobs", tmp_path / "etc"
    jobs.mkdir()
    (etc / "other").mkdir(parents=True)
    for name in ("victim", "target", FIRST):
        (etc / name).write_text(name)
    if isinstance(renames, list):
        renames = json.loads(json.dumps(renames).replace("$", str(etc)))
    journal(jobs, renames)

    files.finish_replacing(jobs)

    assert {each.name: each.read_text() for each in etc.iterdir() if each.is_file()} == {
        "victim": "victim", "target": "target", FIRST: FIRST,
    }  # fmt: skip
    assert not (jobs / ".jidoteki-replace.json").exists()
    assert len(list(jobs.glob(".jidoteki-replace.json.aside-*"))) == 1
    files.replace_files({etc / "target": b"new"}, jobs, {etc / "target": 0o600})
    assert (etc / "target").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_journal_that_somebody_else_may_have_written_means_nothing(tmp_path: Path, mode: int) -> None:
    (tmp_path / FIRST).write_text("new")
    (tmp_path / "target").write_text("old")
    journal(tmp_path, [[str(tmp_path / FIRST), str(tmp_path / "target")]], mode)

    files.finish_replacing(tmp_path)

    assert (tmp_path / "target").read_text() == ("new" if mode == 0o600 else "old")


def test_a_journal_renames_no_link(tmp_path: Path) -> None:
    (tmp_path / FIRST).symlink_to("/etc/passwd")
    (tmp_path / "target").write_text("old")
    journal(tmp_path, [[str(tmp_path / FIRST), str(tmp_path / "target")]])

    with pytest.raises(OSError, match="not the service's own"):
        files.finish_replacing(tmp_path)

    assert (tmp_path / "target").read_text() == "old"
    files.finish_replacing(tmp_path)


def test_a_directory_in_the_way_changes_nothing_and_keeps_nothing_else_from_being_replaced(tmp_path: Path) -> None:
    jobs, one, two = tmp_path / "jobs", tmp_path / "one", tmp_path / "two"
    jobs.mkdir()
    one.write_text("old")
    two.mkdir()

    with pytest.raises(IsADirectoryError):
        files.replace_files({one: b"new", two: b"new"}, jobs, dict.fromkeys((one, two), 0o600))

    assert one.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["jobs", "one", "two"]
    files.replace_files({one: b"new"}, jobs, {one: 0o600})
    assert one.read_text() == "new"


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[str, Path], None]]:
    """Keeps a file from being replaced until the test ends."""
    undo: list[list[str | Path]] = []

    def hold(how: str, path: Path) -> None:
        (tmp_path / "elsewhere").write_text("old")
        command: list[str | Path] = (
            ["mount", "--bind", tmp_path / "elsewhere", path] if how == "mounted" else ["chattr", how, path]
        )
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs root, and a file system that can do this")
        undo.append(["umount", "-l", path] if how == "mounted" else ["chattr", how.replace("+", "-"), path])

    yield hold
    for command in undo:
        subprocess.run(command, check=True)


@pytest.mark.parametrize("how", ["mounted", "+i", "+a"])
def test_one_that_cannot_be_replaced_keeps_all_as_they_were(
    tmp_path: Path, how: str, hold: Callable[[str, Path], None]
) -> None:
    jobs, one, two, three = (tmp_path / name for name in ("jobs", "one", "two", "three"))
    jobs.mkdir()
    for path in (one, two, three):
        path.write_text("old")
    hold(how, two)

    with pytest.raises(OSError, match=r"two is (mounted there|immutable or append-only)"):
        files.replace_files(dict.fromkeys((one, two, three), b"new"), jobs, dict.fromkeys((one, two, three), 0o600))

    assert [path.read_text() for path in (one, two, three)] == ["old"] * 3
    assert not list(tmp_path.rglob(".jidoteki-*"))


def test_renames_that_can_no_more_be_made_are_told_and_given_up(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (tmp_path / FIRST).write_text("new")
    (tmp_path / "target").mkdir()
    journal(jobs, [[str(tmp_path / FIRST), str(tmp_path / "target")]])

    with pytest.raises(OSError, match="directory"):
        files.finish_replacing(jobs)

    files.finish_replacing(jobs)
    assert not (tmp_path / FIRST).exists()


@pytest.mark.parametrize("kind", OBSTACLES)
def test_whatever_is_in_place_of_the_lock_files_are_replaced(tmp_path: Path, kind: str) -> None:
    if not obstruct(tmp_path / "replace.lock", kind):
        pytest.skip(f"this system can have no {kind}")

    files.replace_files({tmp_path / "a": b"new"}, tmp_path, {tmp_path / "a": 0o600})

    assert (tmp_path / "a").read_bytes() == b"new"
    remove(tmp_path / "replace.lock")


@pytest.mark.parametrize(
    "kind", ["directory", "pipe", "socket", "link to an endless device", "link to a pipe", "huge file"]
)
async def test_a_cached_file_that_is_no_small_file_is_an_error_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    obstruct(path, kind)
    cached = files.CachedFile(path, bytes.decode)

    for _ in range(2):
        with pytest.raises(OSError, match="regular|longer|device"):
            cached.get()
        await asyncio.sleep(0)

    assert cached.present
    remove(path)
    path.write_text("one")
    assert cached.get() == "one"


def test_a_deep_or_foreign_directory_is_not_cleared(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / FIRST).write_text("kept")
    etc = tmp_path / "etc"
    (etc / "sub").mkdir(parents=True)
    (etc / "link").symlink_to(elsewhere)
    (etc / FIRST).write_text("left")
    (etc / "sub" / FIRST).symlink_to("/etc/passwd")
    (etc / ".jidoteki-0123456789abcde0").mkdir()

    leftovers.remove_temporaries(etc, below=True)

    assert [each.name for each in etc.rglob(".jidoteki-*")] == [".jidoteki-0123456789abcde0"]
    assert (elsewhere / FIRST).exists()

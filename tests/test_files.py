"""Files that are whole at any moment, also when many write and when writers are killed."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jidoteki.core import files

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
    files.remove_temporaries(tmp_path)

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


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))

    assert files.tail(path, 2) == "line 99998\nline 99999"
    assert files.tail(tmp_path / "missing", 2) is None

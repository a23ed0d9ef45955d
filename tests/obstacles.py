"""What may lie where a file or directory belongs: each kind of obstacle, made at a path."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path


def _directory(path: Path) -> None:
    (path / "inside").mkdir(parents=True)
    (path / "inside/file").write_text("somebody's\n")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{here}/{path.name}")  # the path itself may be too long for an address
    finally:
        os.close(here)


def _dangling_link(path: Path) -> None:
    path.symlink_to("nowhere-at-all")


def _endless_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_to_pipe(path: Path) -> None:
    pipe = path.with_name(f"{path.name}-behind-the-link")
    os.mkfifo(pipe)
    path.symlink_to(pipe.name)


def _garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 16)


def _nested_json(path: Path) -> None:
    path.write_text("[" * 100_000)


def _huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


def _immutable_file(path: Path) -> None:
    path.write_text("immutable\n")
    subprocess.run(["chattr", "+i", path], check=True, capture_output=True)


OBSTACLES: dict[str, Callable[[Path], None]] = {
    "directory": _directory,
    "pipe": _pipe,
    "socket": _socket,
    "dangling link": _dangling_link,
    "link to an endless device": _endless_link,
    "link to a pipe": _link_to_pipe,
    "garbage": _garbage,
    "nested JSON": _nested_json,
    "huge file": _huge_file,
    "device": _device,
    "immutable file": _immutable_file,
}


def obstruct(path: Path, kind: str) -> bool:
    """Put an obstacle in the place of whatever is there; False where this system cannot have it."""
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        OBSTACLES[kind](path)
    except (PermissionError, subprocess.CalledProcessError, FileNotFoundError):
        return False
    return True


def remove(path: Path) -> None:
    """Remove whatever is there, immutable or not."""
    if not os.path.lexists(path):
        return
    if path.is_file() and not path.is_symlink():
        subprocess.run(["chattr", "-i", path], check=False, capture_output=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

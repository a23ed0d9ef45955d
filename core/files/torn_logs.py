"""Logs after a power cut: a file may have got its length before its content, and ends in zero bytes then."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jidoteki.core.files import leftovers
from jidoteki.hookspecs import paths

MAX_FILES = 10_000
BLOCK = 64 * 1024
#: No power cut leaves more zero bytes: a longer hole is somebody's sparse file, and looking through it takes long.
MOST_ZEROS = 16 * 1024 * 1024


def mend(directory: Path) -> None:
    """Cut the zero bytes off the ends of the logs in a directory; call it before anything is appended. Never raises."""
    with leftovers.tolerated(f"The logs in {directory} cannot be looked at"), paths.directory(directory) as descriptor:
        for name in sorted(os.listdir(descriptor))[:MAX_FILES]:
            if name.endswith(".log"):
                with leftovers.tolerated(f"{directory / name} cannot be mended"):
                    _mend(name, descriptor)


def _mend(name: str, directory: int) -> None:
    try:
        file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if paths.is_own(os.stat(name, dir_fd=directory, follow_symlinks=False)):
            raise error
        return  # somebody else's
    try:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and (length := _length(file, status.st_size)) < status.st_size:
            os.ftruncate(file, length)
            leftovers.logger.warning("%s ended in zero bytes, as after a power cut: they are cut off", name)
    finally:
        os.close(file)


def _length(file: int, size: int) -> int:
    """Return the length of a file without the zero bytes at its end."""
    whole = size
    while size:
        if whole - size > MOST_ZEROS:
            return whole
        start = max(0, size - BLOCK)
        content = os.pread(file, size - start, start)
        kept = content.rstrip(b"\0")
        if kept or len(content) < size - start:
            return start + len(kept) if kept else size
        size = start
    return 0

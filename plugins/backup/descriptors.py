"""Looking at what lies in a directory that is open, without following a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from jidoteki.hookspecs.paths import DIRECTORY


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_there(name: str, directory: int) -> bool:
    """Whether there is anything of a name, be it a link that leads nowhere."""
    return _mode(name, directory) is not None


def is_directory(name: str, directory: int) -> bool:
    """Whether there is a directory of a name."""
    return stat.S_ISDIR(_mode(name, directory) or 0)


def is_empty(directory: int) -> bool:
    """Whether there is nothing in a directory."""
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def is_filled(name: str, directory: int) -> bool:
    """Whether there is a directory of a name that is not empty."""
    if not is_directory(name, directory):
        return False
    with closing(os.open(name, DIRECTORY, dir_fd=directory)) as inner:
        return not is_empty(inner)


def _mode(name: str, directory: int) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None

"""Queries about the entries of an open directory, without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from jidoteki.hookspecs.paths import DIRECTORY


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of a `with` block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def exists(name: str, directory: int) -> bool:
    """Return whether a directory has an entry of a name, even a dangling link."""
    return _mode(name, directory) is not None


def is_directory(name: str, directory: int) -> bool:
    """Return whether an entry is a directory."""
    return stat.S_ISDIR(_mode(name, directory) or 0)


def is_empty(directory: int) -> bool:
    """Return whether a directory is empty."""
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def is_filled(name: str, directory: int) -> bool:
    """Return whether an entry is a directory that is not empty."""
    if not is_directory(name, directory):
        return False
    with closing(os.open(name, DIRECTORY, dir_fd=directory)) as inner:
        return not is_empty(inner)


def _mode(name: str, directory: int) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None

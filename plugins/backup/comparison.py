"""Comparing data with an archive, as a file system that cannot be restored to may have the same content already."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from contextlib import ExitStack
from typing import Final

from jidoteki.hookspecs import sparse_files
from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.plugins.backup.descriptors import closing

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 1024 * 1024
_OTHER_KIND: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class _Level:
    """A directory of each tree, whose descriptors it closes."""

    def __init__(self, place: int, new: int) -> None:
        self.place = place
        self.new = new
        self.entries = os.scandir(new)

    def close(self) -> None:
        self.entries.close()
        os.close(self.place)
        os.close(self.new)


def has_all(place: int, new: int) -> bool:
    """Return whether a directory has all entries of another one, with the same content.

    :param place: descriptor of the directory.
    :param new: descriptor of the other one.
    :raises OSError: a file cannot be read.
    """
    levels = [_Level(os.dup(place), os.dup(new))]
    try:
        while levels:  # no recursion: a tree may be deeper than the stack
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop().close()
            elif entry.is_dir(follow_symlinks=False):
                inner = _entered(entry.name, level)
                if inner is None:
                    return False
                levels.append(inner)
            elif not is_same(entry.name, level.place, level.new):
                return False
        return True
    finally:
        for level in levels:
            level.close()


def _entered(name: str, level: _Level) -> _Level | None:
    try:
        place = os.open(name, DIRECTORY, dir_fd=level.place)
    except OSError as error:
        if error.errno in _OTHER_KIND:
            return None
        raise
    try:
        return _Level(place, os.open(name, DIRECTORY, dir_fd=level.new))
    except OSError:
        os.close(place)
        raise


def is_same(name: str, place: int, new: int, called: str | None = None) -> bool:
    """Return whether an entry has the same type and content in two directories.

    :param called: its name in `place`, if that differs.
    """
    called = called or name
    try:
        there = os.stat(called, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    coming = os.stat(name, dir_fd=new, follow_symlinks=False)
    if stat.S_IFMT(there.st_mode) != stat.S_IFMT(coming.st_mode):
        return False
    if stat.S_ISLNK(coming.st_mode):
        return os.readlink(called, dir_fd=place) == os.readlink(name, dir_fd=new)
    directory = stat.S_ISDIR(coming.st_mode)
    if not directory and there.st_size != coming.st_size:
        return False
    with ExitStack() as opened:
        flags = DIRECTORY if directory else _FILE
        one = opened.enter_context(closing(os.open(called, flags, dir_fd=place)))
        other = opened.enter_context(closing(os.open(name, flags, dir_fd=new)))
        return has_all(one, other) if directory else _is_same_content(one, other, coming.st_size)


def _is_same_content(one: int, other: int, size: int) -> bool:
    """Return whether two files have the same content, reading only data regions, as holes may have any length."""
    end = 0
    for start, length in heapq.merge(sparse_files.parts(one, size), sparse_files.parts(other, size)):
        end = max(start, end)
        while end < start + length:
            content = os.pread(one, min(_CHUNK, start + length - end), end)
            if not content or content != os.pread(other, len(content), end):
                return False
            end += len(content)
    return True

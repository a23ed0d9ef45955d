"""Whether what a restore would put somewhere is there already: then a file system that takes nothing needs nothing."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import Final

from jidoteki.hookspecs.paths import DIRECTORY
from jidoteki.plugins.backup.descriptors import closing

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 1024 * 1024


def has_all(place: int, new: int) -> bool:
    """Whether a directory has all that is in another one, each with the same content.

    :param place: descriptor of the directory.
    :param new: descriptor of the other one.
    :raises OSError: something cannot be read.
    """
    with os.scandir(new) as coming:
        for entry in coming:  # in few frames of the stack, for a tree may be deep
            if not is_same(entry.name, place, new):
                return False
    return True


def is_same(name: str, place: int, new: int, called: str | None = None) -> bool:
    """Whether what has a name in one directory is of the same kind and content as in the other one.

    :param called: how it is called in `place`, if not as in `new`.
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
        return has_all(one, other) if directory else _is_same_content(one, other)


def _is_same_content(one: int, other: int) -> bool:
    while content := os.read(one, _CHUNK):
        if content != os.read(other, len(content)):
            return False
    return not os.read(other, 1)

"""Making a place in the data free, without deleting what another program put there.

A directory that somebody has open takes what he moves into it, wherever it was moved itself. So an empty one is
removed, and then takes nothing; one that is not empty stays.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.hookspecs.restorable import MAX_DEPTH, RESERVED
from jidoteki.plugins.backup.descriptors import closing, is_directory
from jidoteki.plugins.backup.narrowing import keep_like
from jidoteki.plugins.backup.staging import set_aside

IN_THE_WAY: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
_KEPT: Final = f"{RESERVED}kept-"


def give_way(name: str, place: int, old: int) -> None:
    """Remove an empty directory, and keep one that is like it instead.

    :param place: descriptor of the directory that it is in.
    :param old: descriptor of the one for what goes away.
    :raises OSError: it is not empty, or that is impossible.
    """
    with closing(directory_beneath(place, [name])) as directory:
        keep_like(directory, old, name)
    try:
        os.rmdir(name, dir_fd=place)
    except OSError:
        with suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=old)
        raise


def clear(name: str, place: int, aside: int, all_of_it: bool = False) -> None:
    """Make a place free for what is new.

    :param place: descriptor of the directory that it is in.
    :param aside: descriptor of the one for what nobody is to put back.
    :param all_of_it: whether a directory goes with all that is in it.
    :raises OSError: a directory is there that is not empty, or that is impossible.
    """
    if is_directory(name, place) and not all_of_it:
        os.rmdir(name, dir_fd=place)
    else:
        set_aside(name, place, aside)


def clear_for_old(name: str, place: int, aside: int) -> None:
    """Make a place free for what is put back: a directory that anything but directories lies in stays beside it.

    :raises OSError: that is impossible.
    """
    if is_directory(name, place):
        with suppress(OSError):
            _hollow(name, place, MAX_DEPTH)
    try:
        clear(name, place, aside)
    except OSError as error:
        if error.errno not in IN_THE_WAY:
            raise
        os.rename(name, f"{_KEPT}{secrets.token_hex(8)}", src_dir_fd=place, dst_dir_fd=place)


def _hollow(name: str, parent: int, depth: int) -> None:
    """Empty a directory, if nothing but directories lies in it."""
    with closing(directory_beneath(parent, [name])) as directory:
        for each in os.listdir(directory):
            if not depth or not is_directory(each, directory):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            _hollow(each, directory, depth - 1)
            os.rmdir(each, dir_fd=directory)


def put_back(name: str, old: int, place: int, clear: Callable[[str, int], None]) -> None:
    """Rename what went away to its place; an empty directory is there again when any other one is.

    :param clear: makes the place free, by the name and the descriptor of its directory.
    :raises OSError: that is impossible.
    """
    try:
        os.rename(name, name, src_dir_fd=old, dst_dir_fd=place)
    except OSError as error:
        if error.errno not in IN_THE_WAY:
            raise
        if is_directory(name, place) and is_directory(name, old):
            with suppress(OSError):
                os.rmdir(name, dir_fd=old)
                return
        clear(name, place)
        os.rename(name, name, src_dir_fd=old, dst_dir_fd=place)

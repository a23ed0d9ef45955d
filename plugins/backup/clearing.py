"""Clearing a path in the data without deleting what another program puts there.

A process that has a directory open can add files to it, wherever it was moved. So an empty one is removed, after which
nothing can be added; one that is not empty stays.
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
from jidoteki.plugins.backup.narrowed_access import keep_like
from jidoteki.plugins.backup.staging import set_aside

IN_THE_WAY: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
_KEPT: Final = f"{RESERVED}kept-"


def give_way(name: str, place: int, old: int) -> None:
    """Remove an empty directory, and keep a copy of it with its metadata.

    :param place: descriptor of the directory that it is in.
    :param old: descriptor of the directory for removed entries.
    :raises OSError: it is not empty, or cannot be removed.
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
    """Clear a path for a new entry.

    :param place: descriptor of the directory that it is in.
    :param aside: descriptor of the directory for entries that are never restored.
    :param all_of_it: whether a directory that is not empty is moved, too.
    :raises OSError: the path is a directory that is not empty, or cannot be cleared.
    """
    if is_directory(name, place) and not all_of_it:
        os.rmdir(name, dir_fd=place)
    else:
        set_aside(name, place, aside)


def clear_for_old(name: str, place: int, aside: int) -> None:
    """Clear a path for an old entry; a directory that contains more than directories is renamed and stays beside it.

    :raises OSError: it cannot be cleared.
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
    """Empty a directory that contains only directories."""
    with closing(directory_beneath(parent, [name])) as directory:
        for each in os.listdir(directory):
            if not depth or not is_directory(each, directory):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            _hollow(each, directory, depth - 1)
            os.rmdir(each, dir_fd=directory)


def put_back(name: str, old: int, place: int, clear: Callable[[str, int], None]) -> None:
    """Rename an old entry back to its path; any directory there will do in place of an empty one.

    :param clear: clears the path, called with the name and the descriptor of its directory.
    :raises OSError: it cannot be renamed.
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

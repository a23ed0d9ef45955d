"""Moving a directory that cannot be renamed: on overlayfs, one of the lower layer (EXDEV).

It is created anew at the target, and its entries are moved there one by one. A move that was interrupted can be
continued or reversed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.plugins.backup.descriptors import closing, is_directory
from jidoteki.plugins.backup.directory_metadata import copy_metadata

MAX_PASSES: Final = 1000
"""The most passes over a directory to which somebody else keeps adding files."""
_IN_THE_WAY: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
Aside = Callable[[str, int], None]


def cannot_rename(error: OSError, name: str, parent: int) -> bool:
    """Return whether a rename failed on a directory that can be moved in pieces instead."""
    return error.errno == errno.EXDEV and is_directory(name, parent)


def move(name: str, source: int, target: int, aside: Aside) -> None:
    """Move a directory piece by piece; a partial target is completed.

    :param source: descriptor of the directory that it is in.
    :param target: descriptor of the directory to move it to; both stay open.
    :param aside: removes an entry in the way, called with its name and the descriptor of its directory.
    :raises OSError: it cannot be moved, or somebody keeps adding files; a part of it may have been moved.
    """
    if not is_directory(name, target):
        with suppress(FileNotFoundError):
            aside(name, target)
        os.mkdir(name, 0o700, dir_fd=target)
    with closing(directory_beneath(source, [name])) as old, closing(directory_beneath(target, [name])) as new:
        time = os.fstat(old).st_mtime_ns
        copy_metadata(old, new, time)
        for _ in range(MAX_PASSES):
            with os.scandir(old) as entries:
                for entry in entries:
                    _move(entry.name, old, new, aside)
            try:
                os.rmdir(name, dir_fd=source)
                break
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
        else:
            raise OSError(errno.ENOTEMPTY, f"{name} is being filled")
        os.utime(new, ns=(time, time))


def _move(name: str, source: int, target: int, aside: Aside) -> None:
    try:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    except FileNotFoundError:  # somebody else removed it
        return
    except OSError as error:
        if is_directory(name, source) and error.errno in (errno.EXDEV, *_IN_THE_WAY):
            move(name, source, target, aside)
        elif error.errno in _IN_THE_WAY:
            aside(name, target)
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        else:
            raise

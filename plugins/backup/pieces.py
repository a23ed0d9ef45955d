"""Moving a directory that the system does not rename: on overlayfs, one of the lower layer (EXDEV).

It is made once more where it is to go, and what is in it is moved there one by one. A move that was interrupted may be
gone on with, or made the other way round.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.plugins.backup.descriptors import closing, is_directory
from jidoteki.plugins.backup.dressing import copy_metadata

MAX_PASSES: Final = 1000
"""How often a directory is gone through that somebody else goes on filling."""
_IN_THE_WAY: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
Aside = Callable[[str, int], None]


def cannot_rename(error: OSError, name: str, parent: int) -> bool:
    """Whether an attempt failed because it was about a directory that is not renamed, but may be moved in pieces."""
    return error.errno == errno.EXDEV and is_directory(name, parent)


def move(name: str, source: int, target: int, aside: Aside) -> None:
    """Move a directory piece by piece; what is already there of it is completed.

    :param source: descriptor of the directory that it is in.
    :param target: descriptor of the one that it is to be in; both stay open.
    :param aside: takes away what is there and cannot be completed, by its name and the descriptor of its directory.
    :raises OSError: that is impossible, or somebody goes on filling it; a part of it may have been moved.
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

"""Whose a directory in the data is, and whether it can be the one that the archive means.

The application's user renames what lies in his directories as he likes, directories of others too. So in the place of
a directory of root's that the archive holds there may be one of his, who then read what is put into it; or another one
of root's in the place of his, which would become his. Neither is entered.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final

from jidoteki.hookspecs import posix_acl
from jidoteki.hookspecs.paths import is_own, is_private
from jidoteki.hookspecs.restorable import IMPLIED

ANYBODY: Final = -1
"""In place of a user: more than one, or the members of a group."""
LISTS: Final = (posix_acl.ACCESS, posix_acl.DEFAULT)
_STICKY: Final = stat.S_ISVTX


def renamer(directory: int, above: int | None, inner: int) -> int | None:
    """Who may have put a directory in its place; None for root and the service alone.

    :param directory: descriptor of the one that it is in.
    :param above: who may have put that one in its place.
    :param inner: its own descriptor; with the sticky bit above it nobody else moves one that is private (unlink(2)).
    """
    status = os.fstat(directory)
    own = None if is_private(status) else ANYBODY if is_own(status) else status.st_uid
    if own == ANYBODY and status.st_mode & _STICKY and is_private(os.fstat(inner)):
        own = None
    if above is None or own is None or own == above:
        return own if above is None else above
    return ANYBODY


def difference(there: int, coming: int, by: int | None, covered: bool) -> str | None:
    """Say why a directory may not be the one that the archive means; None when nobody gains from that.

    :param there: its descriptor.
    :param coming: descriptor of the archive's.
    :param by: who may have put it there.
    :param covered: whether it gets what the archive says of it; else it has to be the same already.
    """
    own, wanted = os.fstat(there), os.fstat(coming)
    if by is None or os.geteuid() != 0 or wanted.st_mode & IMPLIED or by == own.st_uid == wanted.st_uid:
        return None
    same = (own.st_uid, own.st_gid) == (wanted.st_uid, wanted.st_gid) and lists(there) == lists(coming)
    if same and not (_added(own, wanted) if covered else (own.st_mode ^ wanted.st_mode) & 0o7777):
        return None
    owner = f"user {own.st_uid}" if own.st_uid else "root"
    listed = "" if lists(there) == lists(coming) else ", with other lists"
    return (
        f"a directory of {owner}'s is there ({_shown(own)}), which others may have put there; "
        f"in the archive it is another one ({_shown(wanted)}{listed})"
    )


def would_gain(coming: os.DirEntry[str], there: int, new: int, by: int | None) -> bool:
    """Whether somebody gets something of his into a directory of others that he may have put there.

    :param coming: what the archive brings for it.
    :param there: descriptor of the directory in the data.
    :param new: descriptor of its like in the new tree; if the archive holds that as a member, the two were compared.
    :param by: who may have put it there.
    """
    own = os.fstat(there).st_uid
    if by is None or by == own or os.geteuid() != 0 or not os.fstat(new).st_mode & IMPLIED:
        return False
    owner = coming.stat(follow_symlinks=False).st_uid
    if owner in (0, own):
        return False
    try:
        return os.stat(coming.name, dir_fd=there, follow_symlinks=False).st_uid != owner
    except FileNotFoundError:
        return True


def _added(own: os.stat_result, wanted: os.stat_result) -> int:
    """What a mode allows that another one does not; the sticky bit forbids."""
    return (wanted.st_mode ^ _STICKY) & ~(own.st_mode ^ _STICKY) & 0o7777


def _shown(status: os.stat_result) -> str:
    return f"{status.st_uid}:{status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}"


def lists(file: int) -> dict[str, bytes]:
    """Return the access control lists that a file has."""
    return {name: os.getxattr(file, name) for name in names(file) if name in LISTS}


def names(file: int) -> list[str]:
    """Return the names of the attributes that a file has."""
    try:
        return os.listxattr(file)
    except OSError:  # not every file system has any
        return []


def close(file: int, mode: int) -> None:
    """Make a file or directory the service's own, if that may be, and take its lists away.

    :param mode: all that is allowed from then on.
    :raises OSError: that is impossible.
    """
    os.fchmod(file, mode & 0o700)  # first, for without its list the group would get what the list's mask allowed
    remove(file, lists(file))
    os.fchown(file, os.geteuid(), os.getegid())


def remove(file: int, attributes: Iterable[str]) -> None:
    """Take attributes away from a file.

    :raises OSError: that is impossible.
    """
    for name in attributes:
        os.removexattr(file, name)

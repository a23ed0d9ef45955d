"""Owners of directories in the data, and whether a directory can be the one in the archive.

The application's user can rename any entry of his directories, even directories of others. So he may replace a
directory of root that is in the archive with one of his own, to read what is restored to it; or his own with another
one of root, which would become his. Neither is entered.
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
"""A value in place of a user id: several users, or the members of a group."""
LISTS: Final = (posix_acl.ACCESS, posix_acl.DEFAULT)
_STICKY: Final = stat.S_ISVTX


def renamer(directory: int, above: int | None, inner: int) -> int | None:
    """Return the user who may have put a directory at its path; None for only root and the service.

    :param directory: descriptor of its parent.
    :param above: the user who may have put the parent at its path.
    :param inner: its own descriptor; if the parent is sticky, others cannot move a private one (unlink(2)).
    """
    status = os.fstat(directory)
    own = None if is_private(status) else ANYBODY if is_own(status) else status.st_uid
    if own == ANYBODY and status.st_mode & _STICKY and is_private(os.fstat(inner)):
        own = None
    if above is None or own is None or own == above:
        return own if above is None else above
    return ANYBODY


def difference(there: int, coming: int, by: int | None, covered: bool) -> str | None:
    """Return why a directory may not be the one in the archive; None when nobody gains from that.

    :param there: its descriptor.
    :param coming: descriptor of the archive's.
    :param by: the user who may have put it there.
    :param covered: whether it gets the archive's metadata; else they must be equal already.
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
    """Return whether somebody would get a file of his into a directory of others that he may have put there.

    :param coming: the archive's entry for it.
    :param there: descriptor of the directory in the data.
    :param new: descriptor of its counterpart in the new tree; if that is a member, the two were compared before.
    :param by: the user who may have put it there.
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
    """Return the bits that a mode allows and another one does not; the sticky bit forbids."""
    return (wanted.st_mode ^ _STICKY) & ~(own.st_mode ^ _STICKY) & 0o7777


def _shown(status: os.stat_result) -> str:
    return f"{status.st_uid}:{status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}"


def lists(file: int) -> dict[str, bytes]:
    """Return the access control lists of a file."""
    return {name: os.getxattr(file, name) for name in names(file) if name in LISTS}


def names(file: int) -> list[str]:
    """Return the names of the attributes of a file."""
    try:
        return os.listxattr(file)
    except OSError:  # not every file system supports them
        return []


def close(file: int, mode: int) -> None:
    """Make the service the owner of a file or directory, and remove its ACLs.

    :param mode: its new mode.
    :raises OSError: it cannot be changed.
    """
    os.fchmod(file, mode & 0o700)  # first, as without its ACL the mask would become the group's bits
    remove(file, lists(file))
    os.fchown(file, os.geteuid(), os.getegid())


def remove(file: int, attributes: Iterable[str]) -> None:
    """Remove attributes from a file.

    :raises OSError: they cannot be removed.
    """
    for name in attributes:
        os.removexattr(file, name)

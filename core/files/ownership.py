"""Owner, group and permissions of new files and of those that replace another one.

An existing file keeps its owner, group, mode and access control list, except for rights of others to what has become
private. A new file has the mode that it is written with, whose group bits are meant for the group of the appliance's
tools (`Appliance.group`): without such a group only the owner may read a file that is closed to others.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from pathlib import Path

from jidoteki.hookspecs import paths, posix_acl

_GROUP = 0o070
_OTHERS = 0o007


def give(descriptor: int, path: Path, mode: int, group: int | None) -> None:
    """Set owner, group and permissions of an empty file that will be renamed to `path`.

    :param mode: of a new file.
    :param group: of a new file; None to give no group any rights to a private file.
    :raises OSError: the mode cannot be set.
    """
    before = _kept(path)
    if before is None:
        if group is None and not mode & _OTHERS:
            mode &= ~_GROUP
        _set(descriptor, -1, -1 if group is None else group, mode)
        return
    kept = stat.S_IMODE(before.st_mode) & 0o777
    if kept & _OTHERS and not mode & _OTHERS:
        # It was readable by everybody and is private now: it may contain a password.
        kept &= ~_OTHERS if before.st_gid == group else ~(_GROUP | _OTHERS)
    _set(descriptor, before.st_uid, before.st_gid, kept)
    _set_list(descriptor, path)


def _kept(path: Path) -> os.stat_result | None:
    """Return the status of the file that is replaced, if only root or the service can have created it.

    Where others may create files, one that was missing may be theirs, and they would read the new content.
    """
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) and paths.is_own(status) else None


def _set(descriptor: int, owner: int, group: int, mode: int) -> None:
    """Set them as far as this user may; a group that cannot be set gets no rights."""
    for ids in ((owner, group), (-1, group)):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, *ids)
            break
    if group not in (-1, os.fstat(descriptor).st_gid):
        mode &= ~_GROUP
    os.fchmod(descriptor, mode)


def _set_list(descriptor: int, path: Path) -> None:
    try:
        acl = os.getxattr(path, posix_acl.ACCESS, follow_symlinks=False)
    except OSError:
        return
    try:
        os.setxattr(descriptor, posix_acl.ACCESS, acl)
    except OSError:  # without the list, the group bits would be its mask, which covers all of its entries
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~_GROUP)


def group_of(configured: str | int | None, etc: Path) -> int | None:
    """Return the id of the group that may read files closed to others, or None.

    :param configured: its name or number; None for the group that may write to `etc`, unless it is that of root or the
        service: a tree of the original has such a group.
    :raises LookupError: the group does not exist.
    """
    if isinstance(configured, str):
        return int(configured) if configured.isdecimal() else grp.getgrnam(configured).gr_gid
    if configured is not None:
        return configured
    try:
        status = etc.stat()
    except OSError:
        return None
    shared = status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid())
    return status.st_gid if shared else None


def group_name(number: int) -> str:
    """Return the name of a group, or its number, as chgrp takes it, for one without a name."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def user_name(number: int) -> str:
    """Return the name of a user, or `#NUMBER`, as sudo takes it, for one without a name."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"

"""The rules for members that are unpacked: those of `can_restore`, and the exceptions for backups."""

from __future__ import annotations

import copy
import tarfile
from collections.abc import Callable
from pathlib import Path

from jidoteki.core.archives.tar import refuse
from jidoteki.hookspecs.restorable import LEFT_OUT, can_restore, is_reserved, parts


def check(info: tarfile.TarInfo, links_below: Path | None, *, backup: bool, own: Callable[[], bool]) -> None:
    """Check one member.

    :param own: returns whether this appliance made the archive, called only if that matters.
    :param backup: whether hard links, named pipes and sparse files are allowed, and reserved names, except for the
        list's, are not.
    :raises ArchiveError: it is refused.
    """
    checked = _plain(info) if backup and (info.islnk() or info.isfifo() or _has_map(info)) else info
    reason = can_restore(info.name, checked, links_below)
    if reason and (can_restore(info.name, checked, links_below, own=True) or not own()):
        raise refuse(info.name, reason)
    names = parts(info.name)
    if backup and any(map(is_reserved, names)) and not (info.isreg() and names == [LEFT_OUT]):
        raise refuse(info.name, "has a name that is the program's own")


def _has_map(info: tarfile.TarInfo) -> bool:
    """Return whether a member is a sparse file in the only supported format; older formats have their own type."""
    return info.issparse() and info.type != tarfile.GNUTYPE_SPARSE


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a hard link, named pipe or sparse file as a regular file with the same name, owner and mode."""
    if info.size and not _has_map(info):
        raise refuse(info.name, "has an impossible size")
    result = copy.copy(info)
    result.sparse = None
    result.type = tarfile.REGTYPE
    return result

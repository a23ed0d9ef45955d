"""Which members of an archive are unpacked: the rules of `can_restore`, and what a backup may hold beyond them."""

from __future__ import annotations

import copy
import tarfile
from collections.abc import Callable
from pathlib import Path

from jidoteki.core.archives.tar import refuse
from jidoteki.hookspecs.restorable import LEFT_OUT, can_restore, is_reserved, parts


def judge(info: tarfile.TarInfo, links_below: Path | None, *, backup: bool, own: Callable[[], bool]) -> None:
    """Judge one member.

    :param own: whether this appliance made the archive, asked once that matters.
    :param backup: whether hard links, named pipes and files with holes may come, and no name that is the program's own
        but the list's.
    :raises ArchiveError: it is refused.
    """
    judged = _plain(info) if backup and (info.islnk() or info.isfifo() or _has_map(info)) else info
    reason = can_restore(info.name, judged, links_below)
    if reason and (can_restore(info.name, judged, links_below, own=True) or not own()):
        raise refuse(info.name, reason)
    names = parts(info.name)
    if backup and any(map(is_reserved, names)) and not (info.isreg() and names == [LEFT_OUT]):
        raise refuse(info.name, "has a name that is the program's own")


def _has_map(info: tarfile.TarInfo) -> bool:
    """Whether a member is a file with holes in the one format that is read; older ones are of a type of their own."""
    return info.issparse() and info.type != tarfile.GNUTYPE_SPARSE


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a hard link, named pipe or file with holes as the plain file whose name, owner and mode it has."""
    if info.size and not _has_map(info):
        raise refuse(info.name, "has an impossible size")
    result = copy.copy(info)
    result.sparse = None
    result.type = tarfile.REGTYPE
    return result

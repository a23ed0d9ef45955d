"""What belongs to a backup: the paths in `backup.txt`, and the members below them that can be restored."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from jidoteki.hookspecs import Appliance, JobFailed
from jidoteki.hookspecs.restorable import can_restore, parts

STAGING = ".jidoteki-restore"
EVERYTHING = "."

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Member:
    """Something to pack: its name in the archive, where it lies, and its header."""

    name: str
    path: str
    info: tarfile.TarInfo


def selected(appliance: Appliance) -> list[str]:
    """The paths in `backup.txt`, relative to the data directory, without those that lie below another one.

    :raises JobFailed: there is no such file, it lists nothing, or a path leads out of the data directory.
    """
    text = appliance.read_text(appliance.etc / "backup.txt")
    if text is None:
        raise JobFailed("There is no backup.txt that says what belongs to a backup")
    found = set()
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            components = parts(name)
            if ".." in components or STAGING in components:
                raise JobFailed(f"backup.txt lists {name}, which is not a path below the data directory")
            found.add("/".join(components) or EVERYTHING)
    if not found:
        raise JobFailed("backup.txt lists nothing that belongs to a backup")
    if EVERYTHING in found:
        return [EVERYTHING]
    return sorted(name for name in found if not any(name.startswith(f"{other}/") for other in found))


def members(appliance: Appliance, note: Note) -> Iterator[Member]:
    """Everything to pack, a directory before what is in it; what cannot be restored is noted and left out."""
    data = str(appliance.data)
    for name in selected(appliance):
        path = data if name == EVERYTHING else f"{data}/{name}"
        if not os.path.lexists(path):
            note(f"{name} is missing")
        elif name == EVERYTHING:
            yield from _below("", path, appliance.data, note)
        else:
            yield from _with_content(name, path, appliance.data, note)


def _with_content(name: str, path: str, data: Path, note: Note) -> Iterator[Member]:
    try:
        status = os.lstat(path)
    except OSError as error:
        note(f"{name} is left out: {error.strerror}")
        return
    member = _member(name, path, status, data, note)
    if member is None:
        return
    yield member
    if member.info.type == tarfile.DIRTYPE:
        yield from _below(name, path, data, note)


def _below(name: str, path: str, data: Path, note: Note) -> Iterator[Member]:
    """The content of a directory; walked with a stack of its own, for trees may be deep."""
    waiting = [(name, path)]
    while waiting:
        directory, where = waiting.pop()
        try:
            with os.scandir(where) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            note(f"{directory} cannot be read: {error.strerror}")
            continue
        inner = []
        for entry in entries:
            full = f"{directory}/{entry.name}" if directory else entry.name
            if full == STAGING:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                note(f"{full} is left out: {error.strerror}")
                continue
            member = _member(full, entry.path, status, data, note)
            if member is not None:
                yield member
                if member.info.type == tarfile.DIRTYPE:
                    inner.append((full, entry.path))
        waiting.extend(reversed(inner))


def _member(name: str, path: str, status: os.stat_result, data: Path, note: Note) -> Member | None:
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    info.mtime = status.st_mtime_ns // 10**9
    if status.st_mtime_ns % 10**9:
        info.pax_headers = {"mtime": str(Decimal(status.st_mtime_ns).scaleb(-9))}  # a float would lose digits
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        info.size = status.st_size
        if info.mode & 0o6000:
            note(f"{name} loses its set-user-id and set-group-id bits")
            info.mode &= 0o1777
    elif kind == stat.S_IFDIR:
        info.type = tarfile.DIRTYPE
    elif kind == stat.S_IFLNK:
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(path)
    else:
        info.type = tarfile.FIFOTYPE
    reason = can_restore(name, info, data)
    if reason:
        note(f"{name} is left out: it {reason}")
        return None
    return Member(name, path, info)

"""Where file systems are mounted, and what of a directory is mounted a second time (`mount --bind`)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

MOUNTS: Final = Path("/proc/self/mountinfo")
_FIELDS: Final = 5
_ESCAPED: Final = re.compile(rb"\\([0-3][0-7]{2})")
_REMOVED: Final = "//deleted"
"""At the end of the path of what was removed, but is still mounted somewhere."""


class _Mount(NamedTuple):
    """What is to be seen at a place. Both paths end with a slash."""

    device: bytes
    root: str
    """Its path in its file system."""
    point: str


def mounts_below(directory: Path) -> list[str]:
    """Return where file systems are mounted below a directory, relative to it (Linux: proc_pid_mountinfo(5)).

    Nothing may be renamed into these, or removed from them.

    :return: none where the kernel does not say.
    """
    start = _directory(directory.resolve())
    return [place for mount in _table() if (place := _below(mount.point, start))]


def bound_below(directory: Path) -> dict[str, list[str]]:
    """Return what below a directory is mounted elsewhere, too, where it is not seen any more once it is renamed.

    :return: the other places by its path; both are relative to the directory if they are below it.
    """
    start = _directory(directory.resolve())
    # Of several at one place the last is to be seen.
    table = {mount.point: mount for mount in _table() if _REMOVED not in mount.root}
    parts = [mount for mount in table.values() if mount.point.startswith(start) and mount.point != start]
    above = [mount for mount in table.values() if start.startswith(mount.point)]
    if above:
        nearest = max(above, key=lambda mount: len(mount.point))
        parts.append(nearest._replace(root=nearest.root + start.removeprefix(nearest.point), point=start))
    found: dict[str, list[str]] = {}
    for part in parts:
        for mount in table.values():
            if mount.device == part.device and mount.root.startswith(part.root) and mount.point != part.point:
                place = part.point + mount.root.removeprefix(part.root)
                hidden = any(place.startswith(each.point) and len(each.point) > len(part.point) for each in parts)
                if (path := _below(place, start)) and not hidden:
                    found.setdefault(path, []).append(_below(mount.point, start) or mount.point.rstrip("/"))
    return found


def _below(path: str, start: str) -> str:
    """A path relative to a directory that it is below; else nothing."""
    return path.removeprefix(start).rstrip("/") if path.startswith(start) else ""


def _table() -> list[_Mount]:
    try:
        lines = MOUNTS.read_bytes().split(b"\n")  # what else ends a line in a text may be in a name
    except OSError:
        return []
    fields = [line.split(b" ") for line in lines]
    return [_Mount(each[2], _directory(each[3]), _directory(each[4])) for each in fields if len(each) >= _FIELDS]


def _directory(path: bytes | Path) -> str:
    if isinstance(path, bytes):
        path = _ESCAPED.sub(lambda code: bytes([int(code[1], 8)]), path)
    return os.fsdecode(path).rstrip("/") + "/"

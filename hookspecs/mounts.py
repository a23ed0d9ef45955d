"""Mount points below a directory, and bind mounts (`mount --bind`) of what it contains."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

MOUNTS: Final = Path("/proc/self/mountinfo")
_FIELDS: Final = 5
_ESCAPED: Final = re.compile(rb"\\([0-3][0-7]{2})")
_REMOVED: Final = "//deleted"
"""The end of the path of a removed directory that is still mounted somewhere."""


class _Mount(NamedTuple):
    """A line of the mount table. Both paths end with a slash."""

    device: bytes
    root: str
    """The path, in its file system, of what is mounted."""
    point: str


def mounts_below(directory: Path) -> list[str]:
    """Return the mount points below a directory, relative to it (Linux: proc_pid_mountinfo(5)).

    Nothing can be renamed across one, and a mount point cannot be removed.

    :return: empty where the kernel does not tell.
    """
    start = _directory(directory.resolve())
    return [place for mount in _table() if (place := _below(mount.point, start))]


def bound_below(directory: Path) -> dict[str, list[str]]:
    """Return what below a directory is also bind-mounted elsewhere, where a replacement made by rename is not seen.

    :return: the other mount points by path; both are relative to the directory if they are below it.
    """
    start = _directory(directory.resolve())
    # Of several mounts on one mount point the last hides the others.
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
    """Return a path relative to a directory that it is below; else an empty string."""
    return path.removeprefix(start).rstrip("/") if path.startswith(start) else ""


def _table() -> list[_Mount]:
    try:
        lines = MOUNTS.read_bytes().split(b"\n")  # a name may contain any other line separator
    except OSError:
        return []
    fields = [line.split(b" ") for line in lines]
    return [_Mount(each[2], _directory(each[3]), _directory(each[4])) for each in fields if len(each) >= _FIELDS]


def _directory(path: bytes | Path) -> str:
    if isinstance(path, bytes):
        path = _ESCAPED.sub(lambda code: bytes([int(code[1], 8)]), path)
    return os.fsdecode(path).rstrip("/") + "/"

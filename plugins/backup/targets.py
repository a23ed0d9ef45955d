"""What an unpacked backup replaces: nothing but what `backup.txt` lists, and only where it can be renamed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import JobFailed
from jidoteki.plugins.backup.selection import EVERYTHING, STAGING

MOUNTS: Final = Path("/proc/self/mountinfo")
SHOWN: Final = 100


def targets(new: Path, data: Path, selected: list[str]) -> list[str]:
    """The paths that a new tree replaces in the data directory, each as a whole.

    A selected path that the archive does not hold stays as it is, for the archive may be older than the list; of a
    directory that is missing on the way to a path, the one in the new tree is taken. When everything is selected, what
    the new tree lacks is removed.

    :raises JobFailed: it is empty, holds something that is not selected, or cannot be renamed to its place.
    """
    found = _of_everything(new, data) if selected == [EVERYTHING] else _below("", new, selected)
    if not found:
        raise JobFailed("The archive holds nothing that belongs to a backup of this appliance")
    result = list(dict.fromkeys(_first_missing(data, target) for target in found))
    mounts = _mounts_below(data)
    for target in result:
        _check_place(data, target, mounts)
    return result


def _of_everything(new: Path, data: Path) -> list[str]:
    coming = os.listdir(new)
    there = [name for name in os.listdir(data) if not name.startswith(STAGING)]
    return sorted({*coming, *there}) if coming else []


def _below(directory: str, new: Path, selected: list[str]) -> list[str]:
    found = []
    for name in sorted(os.listdir(new / directory)):
        path = f"{directory}/{name}" if directory else name
        if path in selected:
            found.append(path)
        elif any(each.startswith(f"{path}/") for each in selected) and _is_directory(new / path):
            found += _below(path, new, selected)
        else:
            raise JobFailed(f"The archive holds {path[:SHOWN]!a}, which backup.txt does not list")
    return found


def _first_missing(data: Path, target: str) -> str:
    components = target.split("/")
    for depth in range(1, len(components)):
        path = "/".join(components[:depth])
        if not os.path.lexists(data / path):
            return path
    return target


def _check_place(data: Path, target: str, mounts: list[str]) -> None:
    for path in list(Path(target).parents)[:-1]:
        if not _is_directory(data / path):
            raise JobFailed(f"{target} cannot be restored: {path} is no directory")
    for mount in mounts:
        if f"{target}/".startswith(f"{mount}/") or mount.startswith(f"{target}/"):
            raise JobFailed(f"{target} cannot be restored: another file system is mounted at {mount}")


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _mounts_below(data: Path) -> list[str]:
    """Where file systems are mounted below the data directory, relative to it (Linux: proc_pid_mountinfo(5))."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    start = f"{data.resolve()}/"
    points = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in lines)
    return [point.removeprefix(start) for point in points if point.startswith(start)]

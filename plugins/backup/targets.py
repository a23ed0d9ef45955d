"""What an unpacked backup replaces: nothing but what `backup.txt` lists, and only where it can be renamed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import JobFailed
from jidoteki.hookspecs.mounts import mounts_below
from jidoteki.hookspecs.paths import directory_beneath
from jidoteki.hookspecs.restorable import is_reserved
from jidoteki.plugins.backup.selection import EVERYTHING

SHOWN: Final = 100


def targets(new: int, data: int, place: Path, selected: list[str]) -> list[str]:
    """The paths that a new tree replaces in the data directory, each as a whole.

    A selected path that the archive does not hold stays as it is, for the archive may be older than the list; of a
    directory that is missing on the way to a path, the one in the new tree is taken. When everything is selected, what
    the new tree lacks is removed.

    :param new: descriptor of the new tree.
    :param data: descriptor of the data directory.
    :param place: the data directory's path.
    :raises JobFailed: it is empty, holds something that is not selected, or cannot be renamed to its place.
    """
    found = _of_everything(new, data) if selected == [EVERYTHING] else _below("", new, selected)
    if not found:
        raise JobFailed("The archive holds nothing that belongs to a backup of this appliance")
    result = list(dict.fromkeys(_first_missing(data, target) for target in found))
    mounts = mounts_below(place)
    for target in result:
        _check_mounts(target, mounts)
    return result


def _of_everything(new: int, data: int) -> list[str]:
    coming = os.listdir(new)
    there = [name for name in os.listdir(data) if not is_reserved(name)]
    return sorted({*coming, *there}) if coming else []


def _below(directory: str, descriptor: int, selected: list[str]) -> list[str]:
    found = []
    for name in sorted(os.listdir(descriptor)):
        path = f"{directory}/{name}" if directory else name
        if path in selected:
            found.append(path)
        elif any(each.startswith(f"{path}/") for each in selected) and _is_directory(name, descriptor):
            inner = directory_beneath(descriptor, [name])
            try:
                found += _below(path, inner, selected)
            finally:
                os.close(inner)
        else:
            raise JobFailed(f"The archive holds {path[:SHOWN]!a}, which backup.txt does not list")
    return found


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _first_missing(data: int, target: str) -> str:
    """The target, or the first directory on the way to it that is missing."""
    components = target.split("/")
    for depth in range(1, len(components)):
        path = "/".join(components[:depth])
        try:
            os.close(directory_beneath(data, components[:depth]))
        except FileNotFoundError:
            return path
        except OSError as error:
            raise JobFailed(f"{target} cannot be restored: {path} is no directory") from error
    return target


def _check_mounts(target: str, mounts: list[str]) -> None:
    for mount in mounts:
        if f"{target}/".startswith(f"{mount}/") or mount.startswith(f"{target}/"):
            raise JobFailed(f"{target} cannot be restored: another file system is mounted at {mount}")

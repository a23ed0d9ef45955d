"""What a restore with `mode=exact` would remove, for its preview."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from jidoteki.hookspecs.paths import DIRECTORY, directory_beneath
from jidoteki.plugins.backup.descriptors import closing, exists, is_directory
from jidoteki.plugins.backup.notes import MAX_NAMES
from jidoteki.plugins.backup.plan_lines import Line, components, joined
from jidoteki.plugins.backup.stored_backup import some
from jidoteki.plugins.backup.volumes import Volumes

PROPERTIES: Final[dict[str, Any]] = {
    "removes": {
        "type": "object",
        "required": ["files", "paths"],
        "properties": {
            "files": {"type": "integer", "description": "How many files, directories not counted"},
            "paths": {
                "type": "array",
                "items": {"type": "string"},
                "description": f"At most {MAX_NAMES} files, and directories of which nothing is left, which end in /",
            },
        },
        "description": "In a dry run with mode=exact: what is on the appliance and not in the archive",
    },
}


def removed(volumes: Volumes, lines: Iterable[Line], checkpoint: Callable[[], None]) -> dict[str, Any]:
    """Return what a plan removes.

    :param checkpoint: called often; an exception that it raises ends the search.
    :raises OSError: the data were changed meanwhile.
    """
    files = 0
    paths: list[str] = []
    for line in lines:
        for path, number in _of_line(volumes, line, checkpoint):
            files += number
            if len(paths) < MAX_NAMES:
                paths.append(path)
    return {"removes": {"files": files, "paths": some(paths, MAX_NAMES)}}


def _of_line(volumes: Volumes, line: Line, checkpoint: Callable[[], None]) -> Iterator[tuple[str, int]]:
    with closing(directory_beneath(volumes.data, components(line.directory))) as data:
        for name, action in line.entries.items():
            checkpoint()
            path = joined(line.directory, name)
            if action == "remove":
                yield _whole(path, name, data, checkpoint)
            elif action == "replace" and is_directory(name, data):
                with closing(volumes.new(line.directory)) as new:
                    yield from _replaced(path, name, data, new, checkpoint)


def _replaced(path: str, name: str, data: int, new: int, checkpoint: Callable[[], None]) -> Iterator[tuple[str, int]]:
    """Yield what a directory that is replaced as a whole has, and the new entry lacks."""
    if not is_directory(name, new):
        yield _whole(path, name, data, checkpoint)
        return
    with _opened(name, data) as former, _opened(name, new) as coming, os.scandir(former) as entries:
        for entry in entries:
            checkpoint()
            below = joined(path, entry.name)
            if not exists(entry.name, coming):
                yield _whole(below, entry.name, former, checkpoint)
            elif entry.is_dir(follow_symlinks=False):
                yield from _replaced(below, entry.name, former, coming, checkpoint)


def _whole(path: str, name: str, directory: int, checkpoint: Callable[[], None]) -> tuple[str, int]:
    """Return an entry as it is told of, and how many files it has."""
    if not is_directory(name, directory):
        return path, 1
    files = 0
    for _, _, names, _ in os.fwalk(name, dir_fd=directory, follow_symlinks=False):
        checkpoint()
        files += len(names)
    return f"{path}/", files


def _opened(name: str, directory: int) -> AbstractContextManager[int]:
    return closing(os.open(name, DIRECTORY, dir_fd=directory))

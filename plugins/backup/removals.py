"""What a restore with `mode=exact` would remove, for its preview, and what it removed, for its log and its answer."""

from __future__ import annotations

import bisect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any, Final

from jidoteki.hookspecs.paths import DIRECTORY, directory_beneath
from jidoteki.plugins.backup.descriptors import closing, exists, is_directory
from jidoteki.plugins.backup.notes import MAX_NAMES
from jidoteki.plugins.backup.plan_lines import Line, components, joined
from jidoteki.plugins.backup.stored_backup import some
from jidoteki.plugins.backup.volumes import Volumes

_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["files", "paths"],
    "properties": {
        "files": {"type": "integer", "description": "How many files, directories not counted"},
        "paths": {
            "type": "array",
            "items": {"type": "string"},
            "description": f"The first {MAX_NAMES} by name of the files, and of the directories of which nothing is "
            "left, which end in /",
        },
    },
}
PROPERTIES: Final[dict[str, Any]] = {
    "removes": {
        **_SCHEMA,
        "description": "In a dry run with mode=exact: what the archive lacks",
    },
    "removed": {
        **_SCHEMA,
        "description": "What mode=exact removed, if anything",
    },
}
#: Levels of directories below which nothing is counted: a tree may be deeper than this process can go.
DEEPEST: Final = 100
_COUNT: Final = "Files removed that are not in the archive: "
_PATH: Final = "Removed: "


class Removals:
    """What the lines of a plan remove, counted as they pass.

    :param checkpoint: called often; an exception that it raises ends the search.
    """

    def __init__(self, volumes: Volumes, checkpoint: Callable[[], None]) -> None:
        self._volumes = volumes
        self._checkpoint = checkpoint
        self._files = 0
        self._paths: list[str] = []

    def counted(self, line: Line) -> None:
        """Count what a line removes.

        :raises OSError: the data were changed meanwhile.
        """
        for path, number in _of_line(self._volumes, line, self._checkpoint):
            self._files += number
            bisect.insort(self._paths, path)
            del self._paths[MAX_NAMES:]

    def passing(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield the lines of a plan that is carried out; what cannot be counted does not keep it from that."""
        for line in lines:
            with suppress(OSError):
                self.counted(line)
            yield line

    def shown(self) -> dict[str, Any]:
        """Return how many files there are, and the first paths."""
        return {"files": self._files, "paths": some(self._paths, MAX_NAMES)}

    def log(self, tell: Callable[[str], None]) -> None:
        """Write them into a log, from which `logged` reads them; nothing if there are none."""
        if self._paths:
            tell(f"{_COUNT}{self._files}")
            for path in some(self._paths, MAX_NAMES):
                tell(f"{_PATH}{json.dumps(path)}")


def is_logged(said: str) -> bool:
    """Return whether a line of a log is one of these."""
    return said.startswith((_COUNT, _PATH))


def logged(lines: Iterable[str]) -> dict[str, Any]:
    """Return what lines of a log say that a restore removed; empty if they say nothing of it."""
    files: int | None = None
    paths: list[str] = []
    for line in lines:
        with suppress(ValueError):  # a path that is too long for a line is left out
            if line.startswith(_COUNT):
                files = int(line.removeprefix(_COUNT))
            elif line.startswith(_PATH):
                paths.append(str(json.loads(line.removeprefix(_PATH))))
    return {} if files is None else {"removed": {"files": files, "paths": paths}}


def _of_line(volumes: Volumes, line: Line, checkpoint: Callable[[], None]) -> Iterator[tuple[str, int]]:
    if not {"remove", "replace"}.intersection(line.entries.values()):
        return  # most lines of most plans: nothing is opened for them
    with closing(directory_beneath(volumes.data, components(line.directory))) as data:
        for name, action in line.entries.items():
            checkpoint()
            path = joined(line.directory, name)
            if action == "remove":
                yield _whole(path, name, data, checkpoint)
            elif action == "replace" and is_directory(name, data):
                with closing(volumes.new(line.directory)) as new:
                    yield from _replaced(path, name, data, new, checkpoint)


def _replaced(
    path: str, name: str, data: int, new: int, checkpoint: Callable[[], None], levels: int = DEEPEST
) -> Iterator[tuple[str, int]]:
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
            elif levels and entry.is_dir(follow_symlinks=False):
                yield from _replaced(below, entry.name, former, coming, checkpoint, levels - 1)


def _whole(path: str, name: str, directory: int, checkpoint: Callable[[], None]) -> tuple[str, int]:
    """Return an entry as it is told of, and how many files it has."""
    if not is_directory(name, directory):
        return path, 1
    return f"{path}/", _files(name, directory, checkpoint, DEEPEST)


def _files(name: str, directory: int, checkpoint: Callable[[], None], levels: int) -> int:
    """Count the files in a directory and this many levels below it, as far as it can be read."""
    files = 0
    with suppress(OSError), _opened(name, directory) as inner, os.scandir(inner) as entries:
        for entry in entries:
            checkpoint()
            if not entry.is_dir(follow_symlinks=False):
                files += 1
            elif levels:
                files += _files(entry.name, inner, checkpoint, levels - 1)
    return files


def _opened(name: str, directory: int) -> AbstractContextManager[int]:
    return closing(os.open(name, DIRECTORY, dir_fd=directory))

"""The plan of a restore, line by line: it may have millions of entries, and is never in memory as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, cast, get_args

import voluptuous as vol

from jidoteki.hookspecs.restorable import is_reserved

Tell = Callable[[str], None]
Action = Literal["put", "replace", "remove", "fill", "write"]
"""`put` a new entry where there is none, or a file, a link or an empty directory; `replace` any entry with a new one;
`remove` an entry; `fill` a file that is a mount point; `write` into a file that is also mounted elsewhere."""

BATCH: Final = 256
"""The most entries of a line."""
MAX_LINE: Final = 1024 * 1024
MAX_TIME: Final = 2**63 - 1
"""Nanoseconds since the epoch, until 2262."""


class Line(NamedTuple):
    """The changes in one directory, which itself stays; a large one has several lines."""

    directory: str
    """Its path below the data directory; empty for that itself."""
    entries: dict[str, Action]
    time: int | None
    """Its modification time, in nanoseconds since the epoch, if it gets the metadata of the new tree; else None."""
    inode: int = 0
    """Its inode number, so that no other directory is changed in its place."""
    owner: int | None = None
    """Its owner, if others may replace it; else None."""


def encode(line: Line) -> bytes:
    """Return a line as JSON."""
    return json.dumps(line._asdict()).encode("ascii") + b"\n"


def decode(content: bytes) -> Line:
    """Parse a line, and validate it like external input.

    :raises ValueError: it is invalid, or has a path outside the data directory or a reserved name.
    """
    try:
        return Line(**_SCHEMA(json.loads(content)))
    except (RecursionError, vol.Invalid) as error:
        raise ValueError(str(error)) from error


def components(path: str) -> list[str]:
    """Return the components of a path below the data directory."""
    return path.split("/") if path else []


def joined(directory: str, name: str) -> str:
    """Return the path of an entry of a directory below the data directory."""
    return f"{directory}/{name}" if directory else name


def _name(value: Any) -> str:
    if not isinstance(value, str) or value in ("", ".", "..") or "\0" in value or "/" in value or is_reserved(value):
        raise vol.Invalid("must be a name that is not the program's own")
    os.fsencode(value)
    return value


def path(value: Any) -> str:
    """Validate a normalized path below the data directory without reserved names.

    :raises vol.Invalid: it is not such a path.
    """
    if not isinstance(value, str):
        raise vol.Invalid("must be a path")
    for each in components(value):
        _name(each)
    return value


def _entries(value: Any) -> dict[str, Action]:
    if not isinstance(value, dict) or not all(each in get_args(Action) for each in value.values()):
        raise vol.Invalid("must be names and actions")
    return {_name(name): cast(Action, action) for name, action in value.items()}


def _time(value: Any) -> int | None:
    if value is not None and (type(value) is not int or abs(value) > MAX_TIME):
        raise vol.Invalid("must be a time")
    return value


def _inode(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise vol.Invalid("must be the number of an inode")
    return value


def _owner(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise vol.Invalid("must be the number of a user")
    return value


_SCHEMA: Final = vol.Schema(
    {
        vol.Required("directory"): path,
        vol.Required("entries"): _entries,
        vol.Required("time"): _time,
        vol.Required("inode"): _inode,
        vol.Optional("owner", default=None): _owner,
    }
)

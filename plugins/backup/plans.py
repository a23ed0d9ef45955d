"""What a restore is to do, line by line: a plan may hold millions of entries, and is never in memory as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, cast, get_args

import voluptuous as vol

from jidoteki.hookspecs.restorable import is_reserved

Tell = Callable[[str], None]
Action = Literal["put", "replace", "remove", "fill", "write"]
"""`put` something new where nothing is but a file, a link or an empty directory; `replace` whatever is there by
something new; `remove` what is there; `fill` the file that is mounted there; `write` the one there that is mounted
elsewhere, too."""

BATCH: Final = 256
"""The most entries of a line."""
MAX_LINE: Final = 1024 * 1024
MAX_TIME: Final = 2**63 - 1
"""Nanoseconds since the epoch, until 2262."""


class Line(NamedTuple):
    """What is to be done in one directory that stays where it is; a large one has several lines."""

    directory: str
    """Its path below the data directory, empty for that itself."""
    entries: dict[str, Action]
    time: int | None
    """When it was changed last, in nanoseconds since the epoch, if it is to get the metadata of the one in the new
    tree; else None."""
    inode: int = 0
    """Its number on its file system, so that no other directory gets these in its place."""
    owner: int | None = None
    """Who owns it, where others may put another one in its place; else None."""


def encode(line: Line) -> bytes:
    """Return a line as JSON."""
    return json.dumps(line._asdict()).encode("ascii") + b"\n"


def decode(content: bytes) -> Line:
    """Parse a line, and check it as if anybody could have written it.

    :raises ValueError: it makes no sense, or leads out of the data directory or to what is the program's own.
    """
    try:
        return Line(**_SCHEMA(json.loads(content)))
    except (RecursionError, vol.Invalid) as error:
        raise ValueError(str(error)) from error


def components(path: str) -> list[str]:
    """The names in a path below the data directory."""
    return path.split("/") if path else []


def joined(directory: str, name: str) -> str:
    """The path of something in a directory below the data directory."""
    return f"{directory}/{name}" if directory else name


def _name(value: Any) -> str:
    if not isinstance(value, str) or value in ("", ".", "..") or "\0" in value or "/" in value or is_reserved(value):
        raise vol.Invalid("must be a name that is not the program's own")
    os.fsencode(value)
    return value


def path(value: Any) -> str:
    """Accept a path below the data directory, in its shortest form, that leads to nothing of the program's own.

    :raises vol.Invalid: it is another one.
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

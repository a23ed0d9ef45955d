"""The list that an archive carries of what belongs to the backup and could not be packed.

It is the archive's last member, an ordinary file: one path a line, below the data directory, each as a JSON string
(RFC 8259) in ASCII, in which bytes that are not UTF-8 are lone surrogates (PEP 383). `.` means that anything may be
missing.
"""

from __future__ import annotations

import json
import os
from typing import Final

from jidoteki.hookspecs.restorable import LEFT_OUT, MAX_DEPTH, MAX_NAME, parts

NAME: Final = LEFT_OUT
MAX_SIZE: Final = 8 * 1024 * 1024
"""Bytes of the whole list. Of a directory in which too much is left out, the directory itself is listed."""


def line(path: str) -> bytes:
    """Return the line for a path below the data directory."""
    return json.dumps(path).encode("ascii") + b"\n"


def parse(content: bytes) -> frozenset[str]:
    """Return the paths in a list, in their shortest form; `.` as the empty one.

    :raises ValueError: it is no such list, or leads out of the data directory.
    """
    return frozenset(_path(json.loads(each)) for each in content.splitlines())


def _path(value: object) -> str:
    if not isinstance(value, str) or "\0" in value or not value or value.startswith("/"):
        raise ValueError("a line that is no path below the data directory")
    components = parts(value)
    if ".." in components or len(components) > MAX_DEPTH or len(os.fsencode(value)) > MAX_NAME:
        raise ValueError("a path that leads elsewhere, or nowhere")
    return "/".join(components)

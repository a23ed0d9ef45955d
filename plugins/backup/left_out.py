"""The list, in an archive, of the paths that belong to the backup, but could not be packed.

It is the archive's last member, a regular file: one path below the data directory per line, each as a JSON string
(RFC 8259) in ASCII, in which bytes that are not UTF-8 are lone surrogates (PEP 383). `.` means that any path may be
missing.
"""

from __future__ import annotations

import json
import os
from typing import Final

from jidoteki.hookspecs.restorable import LEFT_OUT, MAX_DEPTH, MAX_NAME, parts

NAME: Final = LEFT_OUT
MAX_SIZE: Final = 8 * 1024 * 1024
"""Largest size of the list in bytes."""


def line(path: str) -> bytes:
    """Return the line for a path below the data directory."""
    return json.dumps(path).encode("ascii") + b"\n"


def parse(content: bytes) -> frozenset[str]:
    """Return the paths in a list, normalized; `.` as an empty string.

    :raises ValueError: it is not such a list, or a path points outside the data directory.
    """
    return frozenset(_path(json.loads(each)) for each in content.splitlines())


def _path(value: object) -> str:
    if not isinstance(value, str) or "\0" in value or not value or value.startswith("/"):
        raise ValueError("a line that is no path below the data directory")
    components = parts(value)
    if ".." in components or len(components) > MAX_DEPTH or len(os.fsencode(value)) > MAX_NAME:
        raise ValueError("a path that leads elsewhere, or nowhere")
    return "/".join(components)

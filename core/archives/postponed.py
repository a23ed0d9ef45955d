"""The metadata of directories, kept on disk until their content is unpacked: an archive may have millions of them."""

from __future__ import annotations

import json
import os
import secrets
from array import array
from collections.abc import Iterator
from typing import Any


class Postponed:
    """Records in an unnamed temporary file.

    :param directory: descriptor of a directory on the file system to use.
    """

    def __init__(self, directory: int) -> None:
        self._file = os.fdopen(_unnamed(directory), "w+b")
        self._starts = array("Q")

    def add(self, record: list[Any]) -> None:
        """Add a record of JSON values."""
        self._starts.append(self._file.tell())
        self._file.write(json.dumps(record).encode() + b"\n")

    def last_first(self) -> Iterator[list[Any]]:
        """Yield all records in reverse order."""
        for start in reversed(self._starts):
            self._file.seek(start)
            yield json.loads(self._file.readline())

    def close(self) -> None:
        """Close the file, which deletes it."""
        self._file.close()


def _unnamed(directory: int) -> int:
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError:  # not every file system supports O_TMPFILE
        name = f".{secrets.token_hex(16)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    os.unlink(name, dir_fd=directory)
    return descriptor

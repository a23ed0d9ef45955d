"""Reading the audit log and its rotated files backwards, with little memory."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from jidoteki.hookspecs.audit_log import KEEP, MAX_LINE, AuditLine, parse
from jidoteki.hookspecs.paths import is_own, open_regular

CHUNK: Final = 64 * 1024
MAX_LOOKED_AT: Final = 4 * 1024 * 1024
"""Bytes that are read for one page at most, as a file may be full of invalid lines."""
LINE_COST: Final = 64
"""Bytes that a line counts for beside its own, as a file may be full of short ones."""

_POSITION: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,10})-([0-9a-f]{8})")
_CHECKED: Final = 64


class PositionGoneError(Exception):
    """The line at a position is no longer in the log."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines, the newest first, each with its position."""

    lines: list[tuple[str, AuditLine]]
    following: str | None
    """The position at which the next page begins; None after the last line."""


def is_position(text: str) -> bool:
    """Return whether a text has the format of a position: a file's inode, an offset, and a checksum of the line."""
    return bool(_POSITION.fullmatch(text))


def page(log: Path, before: str | None, limit: int) -> Page:
    """Read a page; blocks.

    :param before: the position of a line, before which the page begins; None for the newest line.
    :raises PositionGoneError: that line is no longer in the log.
    """
    with ExitStack() as opened:
        files = [opened.enter_context(each) for each in _open(log)]
        ends = [os.fstat(each.fileno()).st_size for each in files]
        if before is not None:
            number, end = _find(files, before)
            files, ends = files[number:], [end, *ends[number + 1 :]]
        return _page(files, ends, limit)


def _open(log: Path) -> Iterator[IO[bytes]]:
    """Open the files, the newest first, so that one rotated meanwhile is found twice in place of being missed."""
    seen: set[int] = set()
    for path in (log, *(log.with_name(f"{log.name}.{number}") for number in range(1, KEEP + 1))):
        with suppress(OSError):
            descriptor = open_regular(path)
            status = os.fstat(descriptor)
            if status.st_ino in seen or not is_own(status):
                os.close(descriptor)
            else:
                seen.add(status.st_ino)
                yield os.fdopen(descriptor, "rb", buffering=0)


def _find(files: list[IO[bytes]], position: str) -> tuple[int, int]:
    match = _POSITION.fullmatch(position)
    assert match
    inode, offset = int(match[1]), int(match[2])
    for number, file in enumerate(files):
        if os.fstat(file.fileno()).st_ino == inode and _position(file, offset) == position:
            return number, offset
    raise PositionGoneError


def _position(file: IO[bytes], offset: int) -> str:
    file.seek(offset)
    beginning = file.read(_CHECKED).partition(b"\n")[0]
    return f"{os.fstat(file.fileno()).st_ino}-{offset}-{zlib.crc32(beginning):08x}"


def _page(files: list[IO[bytes]], ends: list[int], limit: int) -> Page:
    found: list[tuple[str, AuditLine]] = []
    looked_at = 0
    for file, end in zip(files, ends, strict=True):
        before = end
        for offset, line in _backwards(file, end):
            looked_at += before - offset + LINE_COST
            before = offset
            parsed = parse(line)
            if parsed:
                found.append((_position(file, offset), parsed))
            if len(found) == limit or looked_at > MAX_LOOKED_AT:
                last = offset == 0 and file is files[-1]
                return Page(found, None if last else _position(file, offset))
    return Page(found, None)


def _backwards(file: IO[bytes], end: int) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of each line that ends before `end`, the last one first.

    A line without a newline is incomplete and skipped, and one that is too long is yielded as empty ones.
    """
    rest = b""
    whole = False
    position = end
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        first, *lines = (file.read(size) + rest).split(b"\n")
        offset = position + len(first) + sum(len(line) + 1 for line in lines)
        for line in reversed(lines):
            offset -= len(line)
            if whole:
                yield offset, line
            whole = True
            offset -= 1
        rest = first
        if len(rest) > MAX_LINE:  # no valid line is that long: skip it
            rest, whole = b"", False
            yield position, rest
    if whole:
        yield 0, rest

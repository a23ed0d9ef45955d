"""The audit log, `ADMIN/log/jidoteki-audit.log`, which the host writes and the endpoint `/audit` reads.

A line is CSV (RFC 4180): `SECONDS.NANOSECONDS,ID,CLIENT,USER,ACTION,"TARGET"`, in ASCII, all else escaped as in Python.
At 8 MiB the file is rotated to `jidoteki-audit.log.1`, and so on up to `KEEP`.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Final

FILE: Final = "jidoteki-audit.log"
KEEP: Final = 4
"""The number of rotated files."""

MAX_LINE: Final = 128 * 1024
"""Bytes; the host writes no longer line."""

_TIME: Final = re.compile(r"[0-9]{1,11}\.[0-9]{9}")
_FIELDS: Final = 6


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the audit log."""

    time: float
    """Seconds since the epoch."""
    id: str
    """The same for the lines before and after a change."""
    client: str
    """An address, or `web` if the line is in the original API's words."""
    user: str
    action: str
    target: str


def parse(line: bytes) -> AuditLine | None:
    """Return the fields of a line; None if it is damaged, or not one of the host's.

    :param line: without the newline at its end.
    """
    try:
        text = line.decode("ascii")
        fields = next(csv.reader([text], strict=True), [])
    except (ValueError, csv.Error):
        return None
    if len(fields) != _FIELDS or not text.isprintable() or not _TIME.fullmatch(fields[0]):
        return None
    return AuditLine(float(fields[0]), *fields[1:])

"""Recognizing the service's own copies of published files in the uploads directory.

The owner of that directory can rename and remove such a copy, but neither write to it nor change its mode or times.
A copy is readable by its owner and at most one group, and its modification time is in whole seconds: it keeps both
under any name, and loses the latter as soon as a script writes another archive into it.
"""

from __future__ import annotations

import os
import stat
from typing import Final

MODE: Final = 0o600
MODE_OF_GROUP: Final = 0o640
_SECOND: Final = 10**9


def mark(descriptor: int) -> None:
    """Mark a complete copy as the service's own."""
    status = os.fstat(descriptor)
    os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns // _SECOND * _SECOND))


def is_copy(status: os.stat_result) -> bool:
    """Return whether a file is such a copy and has not been written to since."""
    return stat.S_IMODE(status.st_mode) in (MODE, MODE_OF_GROUP) and status.st_mtime_ns % _SECOND == 0

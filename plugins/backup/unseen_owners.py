"""Owners that this process cannot see.

In a user namespace that lacks them (user_namespaces(7)), as in the sandbox of a unit with `PrivateUsers=`, each of them
is shown as the same user or group that it lacks, too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_SYSTEM: Final = Path("/proc/sys/kernel")
_PROCESS: Final = Path("/proc/self")


class UnseenOwners:
    """The user and the group that stand for all that this process cannot see."""

    def __init__(self) -> None:
        self._user = _stand_in("uid")
        self._group = _stand_in("gid")

    def hide(self, status: os.stat_result) -> bool:
        """Return whether nobody here knows whom a file belongs to."""
        return status.st_uid == self._user or status.st_gid == self._group


def _stand_in(kind: str) -> int | None:
    """Return the number that stands for unseen ones; None where all are seen, or one has this number."""
    try:
        number = int((_SYSTEM / f"overflow{kind}").read_text())
        lines = (_PROCESS / f"{kind}_map").read_text().splitlines()
    except (OSError, ValueError):
        return None
    seen = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
    return None if any(first <= number < first + count for first, count in seen) else number

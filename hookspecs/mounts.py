"""Where other file systems are mounted, which nothing may be renamed into and nothing may be removed from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")


def mounts_below(directory: Path) -> list[str]:
    """Return where file systems are mounted below a directory, relative to it (Linux: proc_pid_mountinfo(5)).

    :return: none where the kernel does not say.
    """
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    start = f"{directory.resolve()}/".replace("//", "/")
    points = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in lines)
    return [point.removeprefix(start) for point in points if point.startswith(start) and point != start]

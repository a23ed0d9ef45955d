"""Telling one boot of the system from another."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

PATH: Final = Path("proc/sys/kernel/random/boot_id")


def boot_id(root: Path = Path("/")) -> str:
    """Return the kernel's id of this boot; empty if it is unknown.

    :param root: of an appliance: where it has no such file, this system's is read.
    """
    for place in (root, Path("/")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return (place / PATH).read_text(encoding="ascii").strip()
    return ""

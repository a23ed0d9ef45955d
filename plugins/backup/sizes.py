"""Human-readable sizes in the format of `du -h` of the GNU core utilities."""

from __future__ import annotations

from typing import Final

BLOCK: Final = 512
"""Bytes of a block in `st_blocks` (stat(3type))."""
_UNITS: Final = ("", "K", "M", "G", "T", "P", "E")


def human_size(size: int) -> str:
    """Return a size, rounded up, such as `512`, `1.5K` or `128K`: with one decimal below ten units.

    :param size: bytes.
    """
    scale = 1
    for unit in _UNITS:
        whole = -(-size // scale)
        if whole < 1024 or unit == _UNITS[-1]:
            break
        scale *= 1024
    tenths = -(-size * 10 // scale)
    if scale == 1 or tenths >= 100:
        return f"{whole}{unit}"
    return f"{tenths // 10}.{tenths % 10}{unit}"

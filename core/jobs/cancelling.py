"""The decision between cancelling a run and passing its point of no return.

A symbolic link beside the run's workspace stores it, which is created atomically with its content, and only once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

_NAME: Final = "decided"
Decision = Literal["committed", "cancelled"]


class NotCancellableError(Exception):
    """The reason why a run is not cancelled."""


def decide(directory: Path, decision: Decision) -> bool:
    """Decide the fate of a run unless it is decided; return whether the decision is this one.

    :param directory: the parent of the run's workspace.
    :raises FileNotFoundError: the run has ended.
    """
    try:
        os.symlink(decision, directory / _NAME)
    except FileExistsError:
        return decided(directory) == decision
    return True


def decided(directory: Path) -> str | None:
    """Return the decision, or None."""
    try:
        return os.readlink(directory / _NAME)
    except OSError:
        return None

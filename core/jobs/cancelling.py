"""Who comes first: a run for which there is no way back any more, or who cancels it.

A symbolic link beside the run's work space says which, for it is made at once with what it says, and never twice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

_NAME: Final = "decided"
Decision = Literal["committed", "cancelled"]


class NotCancellableError(Exception):
    """Why a run is not cancelled."""


def decide(directory: Path, decision: Decision) -> bool:
    """Decide what becomes of a run, unless that was decided; return whether it is this.

    :param directory: in which the run's work space is.
    :raises FileNotFoundError: the run has ended.
    """
    try:
        os.symlink(decision, directory / _NAME)
    except FileExistsError:
        return decided(directory) == decision
    return True


def decided(directory: Path) -> str | None:
    """What was decided; None where nothing was."""
    try:
        return os.readlink(directory / _NAME)
    except OSError:
        return None

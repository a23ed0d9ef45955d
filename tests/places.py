"""Where the files of this project are, and those below a directory."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SAMPLES: Final = ROOT / "tests/samples"


def found_below(directory: Path, pattern: str) -> list[Path]:
    """Return what has such a name below a directory, also while a service removes files there (Path.rglob fails)."""
    walk = os.walk(directory)
    return [
        Path(place, name) for place, *kinds in walk for names in kinds for name in names if fnmatchcase(name, pattern)
    ]

"""Where the files of this project are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SAMPLES: Final = ROOT / "tests/samples"

"""The findings of `jidoteki check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding: an error keeps a part of the appliance from working, a warning may, a note does not."""

    level: Literal["error", "warning", "note"]
    subject: str
    """One word: certificate, configuration, disk, job, original, permissions, plugin, script, token, updates, or the
    name of a plugin that found it."""
    message: str
    advice: str
    """How to fix it."""
    file: str | None = None
    line: int | None = None
    """Counted from 1."""
    column: int | None = None

    @property
    def place(self) -> str:
        """File, line and column in the format of compilers, with a colon at the end."""
        if self.file is None:
            return f"{self.subject}: "
        return f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "

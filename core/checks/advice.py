"""What to do about findings of several checks."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from jidoteki.core.files.ownership import group_name


def readable(path: Path) -> str:
    """Return how root lets the service read a file, as one that was made under a umask of 027."""
    quoted = shlex.quote(str(path))
    return f"Run: chgrp -R {group_name(os.getegid())} {quoted} && chmod -R g+rX {quoted}"

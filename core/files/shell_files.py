"""The files that shells source as root, where the service's user may only have them written: `network.conf` and others.

A job that root runs writes them, and may have been told what to write by a service that was taken over. So they hold
assignments of literal values, or what they held before: `former` keeps that, in a directory of root's.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from jidoteki.core import files
from jidoteki.hookspecs import paths
from jidoteki.hookspecs.conf import is_literal

_ROOT_WRITES: Final = 0o755


def replace(path: Path, content: bytes, mode: int, group: int | None, former: Path) -> None:
    """Replace one of these files atomically.

    :param mode: of a new file, which root alone may write to whatever it says.
    :param group: of a new file.
    :param former: the directory that keeps what they held.
    :raises PermissionError: a shell that sources this content would do more than to set variables.
    :raises OSError: the old content is still there.
    """
    kept = former / path.name
    if not (is_literal(content) or content == _content(kept)):
        message = "What should be written there is more than assignments of values to variables in lower case"
        raise PermissionError(errno.EPERM, message, str(path))
    now = _content(path)
    if now is not None and not is_literal(now):
        files.replace_file(kept, now, 0o600)
    files.replace_file(path, content, mode & _ROOT_WRITES, group=group)


def _content(path: Path) -> bytes | None:
    """Return the content of a file of root's, or None."""
    with contextlib.suppress(OSError), open(paths.open_regular(path), "rb") as file:
        if os.fstat(file.fileno()).st_uid == 0:
            return file.read(paths.MAX_READ)
    return None

"""What the system says of a failure, for people: with the name of what it is about."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SHOWN: Final = 200
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def named(error: OSError, path: str) -> OSError:
    """The same error, about a path.

    :param path: such as one below the data directory.
    """
    return OSError(error.errno, error.strerror or str(error), path)


@contextmanager
def about(path: str) -> Iterator[None]:
    """Say of what system calls fail in it: they know but a part of a path, or nothing.

    :raises OSError: what failed.
    """
    try:
        yield
    except OSError as error:
        raise named(error, path) from error


def reason(error: OSError | RuntimeError) -> str:
    """Say why, and of what, unless that is said already."""
    text = getattr(error, "strerror", None) or str(error)
    if not isinstance(error, OSError):
        return text
    name = error.filename
    if error.errno in _FULL:
        text = "the disk is full"
    return f"{text} ({name[:_SHOWN]!a})" if isinstance(name, str) and name and name not in text else text

"""Messages about system errors, with the path that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jidoteki.hookspecs.free_space import FULL

_SHOWN: Final = 200


def named(error: OSError, path: str) -> OSError:
    """Return the same error with a path.

    :param path: such as one below the data directory.
    """
    return OSError(error.errno, error.strerror or str(error), path)


@contextmanager
def about(path: str) -> Iterator[None]:
    """Add a path to system errors in a `with` block, which have only a part of it, or none.

    :raises OSError: the error with the path.
    """
    try:
        yield
    except OSError as error:
        raise named(error, path) from error


def reason(error: OSError | RuntimeError) -> str:
    """Return the message of an error, with its path unless that is in the message."""
    text = getattr(error, "strerror", None) or str(error)
    if not isinstance(error, OSError):
        return text
    name = error.filename
    if error.errno in FULL:
        text = "the disk is full"
    return f"{text} ({name[:_SHOWN]!a})" if isinstance(name, str) and name and name not in text else text

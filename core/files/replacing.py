"""The journal of files that are replaced together: which renames are to be made, by whoever reads it."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jidoteki.core.files import leftovers
from jidoteki.hookspecs import paths

logger = logging.getLogger(__name__)

JOURNAL = ".jidoteki-replace.json"
MAX_SIZE = 1024 * 1024
MAX_RENAMES = 1000
#: What may be otherwise at the next try; all else stays as it is until somebody puts it right.
PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM)


class Rename(NamedTuple):
    """One of the files: from the temporary one beside it to its name."""

    temporary: str
    path: str


def encode(renames: Iterable[Rename]) -> bytes:
    """The content of a journal."""
    return json.dumps([list(each) for each in renames]).encode()


def finish(directory: Path) -> None:
    """Make the renames that the journal in a directory names, if there is one; it is gone afterwards.

    :raises OSError: some cannot be made. The journal is still there if they may be made later, else it is set aside.
    """
    journal = directory / JOURNAL
    renames = _read(journal)
    if renames is None:
        return
    failure = None
    for each in renames:
        try:
            _make(each)
        except FileNotFoundError:
            continue  # it was made before
        except OSError as error:
            if error.errno in PASSING:
                raise
            logger.error("%s cannot be replaced: %s", each.path, error.strerror or error)
            failure = error
    for parent in {os.path.dirname(each.path) for each in renames}:
        _sync(parent)
    if failure:
        leftovers.set_aside(journal)
        for each in renames:
            with contextlib.suppress(OSError):
                os.unlink(each.temporary)
        raise failure
    journal.unlink(missing_ok=True)
    _sync(directory)


def _read(journal: Path) -> Sequence[Rename] | None:
    """The renames of a journal; one that the service cannot have written is set aside."""
    try:
        return _parse(paths.read_own(journal, MAX_SIZE))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.error("The journal %s is not valid, and nothing in it is done: %s", journal, error)
        leftovers.set_aside(journal)
        return None


def _parse(content: bytes) -> Sequence[Rename]:
    listed = json.loads(content)
    if not isinstance(listed, list) or len(listed) > MAX_RENAMES:
        raise ValueError("it must be a list of renames")
    return [_checked(each) for each in listed]


def _checked(pair: object) -> Rename:
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(each, str) for each in pair):
        raise ValueError("a rename must be a pair of paths")
    rename = Rename(*pair)
    for path in rename:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"{path!r} is not an absolute path")
    parent, name = os.path.split(rename.path)
    beside, temporary = os.path.split(rename.temporary)
    if parent != beside or not leftovers.TEMPORARY.fullmatch(temporary):
        raise ValueError(f"{rename.temporary!r} is not a temporary file beside its target")
    if name in ("", ".", "..") or name.startswith(leftovers.TEMPORARY_PREFIX):
        raise ValueError(f"{rename.path!r} is not a file to replace")
    return rename


def _make(rename: Rename) -> None:
    parent, name = os.path.split(rename.path)
    temporary = os.path.basename(rename.temporary)
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.stat(temporary, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise OSError(errno.EPERM, "What should replace it is not the service's own", rename.path)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)


def _sync(directory: str | Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

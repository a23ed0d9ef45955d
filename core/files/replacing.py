"""The journal of files that are replaced together: the renames to make, for this process or the next one."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jidoteki.core.files import leftovers, ownership
from jidoteki.hookspecs import paths

logger = logging.getLogger(__name__)

JOURNAL = ".jidoteki-replace.json"
#: The journal's name while its renames are being undone.
BACK = ".jidoteki-replace-back.json"
MAX_SIZE = 1024 * 1024
MAX_RENAMES = 1000
#: Errors that may be temporary; all others persist until somebody fixes their cause.
PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Rename(NamedTuple):
    """A rename of a temporary file to the file beside it that it replaces."""

    temporary: str
    path: str


def encode(renames: Iterable[Rename]) -> bytes:
    """Return the content of a journal."""
    return json.dumps([list(each) for each in renames]).encode()


def finish(directory: Path, *, may_wait: bool = True) -> None:
    """Make the renames in a directory's journal, all or none, and remove the journal.

    Each existing file gets a second hard link first, from which it is restored when a rename fails.

    :param may_wait: whether to keep the journal for a later call when the error may be temporary.
    :raises OSError: some failed, and all were undone; or the message names a file that could not be restored.
    """
    _finish_back(directory)
    journal = directory / JOURNAL
    renames = _read(journal)
    if renames is None:
        return
    try:
        for each in renames:
            _keep(each)
        _sync_parents(renames)
        for each in renames:
            _make(each)
        _sync_parents(renames)
    except OSError as error:
        if may_wait and error.errno in PASSING:
            raise
        _take_back(directory, renames, error)
        raise
    for each in renames:
        _forget(each)
    journal.unlink(missing_ok=True)
    _sync(directory)


def _finish_back(directory: Path) -> None:
    """Complete the undoing that a killed process began."""
    renames = _read(directory / BACK)
    if renames is not None:
        _put_back(directory, renames)


def _take_back(directory: Path, renames: Sequence[Rename], failure: OSError) -> None:
    logger.error(
        "%s cannot be replaced, and what belongs together with it is put back: %s",
        failure.filename, failure.strerror or failure,
    )  # fmt: skip
    try:
        os.replace(directory / JOURNAL, directory / BACK)  # from here on the renames can only be undone
        _sync(directory)
        _put_back(directory, renames)
    except OSError as error:
        text = f"{failure.strerror or failure}; {error.filename} could not be put back: {error.strerror or error}"
        raise OSError(failure.errno, text, failure.filename) from failure


def _put_back(directory: Path, renames: Sequence[Rename]) -> None:
    failure = None
    for each in renames:
        try:
            _undo(each)
        except OSError as error:
            logger.error("%s cannot be put back: %s", each.path, error.strerror or error)
            failure = failure or _at(each, error)
    _sync_parents(renames)
    if failure:
        leftovers.set_aside(directory / BACK)
        raise failure
    (directory / BACK).unlink(missing_ok=True)
    _sync(directory)


def _keep(rename: Rename) -> None:
    """Give the existing file a second name, or mark that there is none, unless the rename was made before."""
    try:
        with _beside(rename) as (directory, names):
            if not _exists(names.temporary, directory):
                return
            for each in (names.former, names.absent):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(each, dir_fd=directory)
            try:
                os.link(names.name, names.former, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                os.close(os.open(names.absent, _NEW, 0o600, dir_fd=directory))
            except OSError:  # it is a mount point, or another user's, or the file system has no hard links
                _copy(rename, directory, names)
    except FileNotFoundError:
        return  # its directory is missing, which `_make` reports
    except OSError as error:
        raise _at(rename, error) from error


def _copy(rename: Rename, directory: int, names: _Names) -> None:
    mode = os.stat(names.name, dir_fd=directory, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    content = paths.read_regular(names.name, dir_fd=directory)
    with open(os.open(names.former, _NEW, 0o600, dir_fd=directory), "wb") as file:
        ownership.give(file.fileno(), Path(rename.path), stat.S_IMODE(mode), None)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _make(rename: Rename) -> None:
    try:
        with _beside(rename) as (directory, names):
            status = os.stat(names.temporary, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
                raise OSError(errno.EPERM, "What should replace it is not the service's own")
            os.rename(names.temporary, names.name, src_dir_fd=directory, dst_dir_fd=directory)
    except FileNotFoundError:
        return  # it was made before
    except OSError as error:
        raise _at(rename, error) from error


def _undo(rename: Rename) -> None:
    """Restore one file, whether it was replaced or not; idempotent."""
    with contextlib.suppress(FileNotFoundError), _beside(rename) as (directory, names):
        if _exists(names.temporary, directory):
            _unlink(directory, names.former, names.absent, names.temporary)
        elif _exists(names.former, directory):
            os.rename(names.former, names.name, src_dir_fd=directory, dst_dir_fd=directory)
            _unlink(directory, names.former)  # a rename between two links of one file removes neither
        elif _exists(names.absent, directory):
            _unlink(directory, names.name, names.absent)


def _forget(rename: Rename) -> None:
    """Remove the second name of the replaced file."""
    with contextlib.suppress(OSError), _beside(rename) as (directory, names):
        _unlink(directory, names.former, names.absent)


class _Names(NamedTuple):
    """The names in the file's directory while it is replaced."""

    temporary: str
    name: str
    former: str
    """The old file; the name is derived from the temporary file's, which is in the journal."""
    absent: str
    """A marker that there was no old file."""


@contextlib.contextmanager
def _beside(rename: Rename) -> Iterator[tuple[int, _Names]]:
    """Open the directory of a file; yield its descriptor and the names in it."""
    parent, name = os.path.split(rename.path)
    temporary = os.path.basename(rename.temporary)
    end = temporary[-16:]
    with_prefix = (f"{leftovers.TEMPORARY_PREFIX}{each}-{end}" for each in ("former", "absent"))
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield directory, _Names(temporary, name, *with_prefix)
    finally:
        os.close(directory)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlink(directory: int, *names: str) -> None:
    for each in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(each, dir_fd=directory)


def _at(rename: Rename, error: OSError) -> OSError:
    """Return the error with the path of the file in place of a temporary name."""
    return OSError(error.errno, error.strerror or str(error), rename.path)


def _sync_parents(renames: Iterable[Rename]) -> None:
    for parent in {os.path.dirname(each.path) for each in renames}:
        _sync(parent)


def _read(journal: Path) -> Sequence[Rename] | None:
    """Return the renames of a journal; one that the service cannot have written is set aside."""
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


def _sync(directory: str | Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        paths.sync_directory(directory)

"""The restore directory, on the file system of the data, so that its content can be renamed into them.

The data directory may belong to the application's user, who can then rename any entry. So the restore directory is
opened once, and identified by its owner, its mode and the key in it, not by its name.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from jidoteki.hookspecs import posix_acl
from jidoteki.hookspecs.paths import DIRECTORY, read_regular
from jidoteki.hookspecs.restorable import LEFT_OUT
from jidoteki.plugins.backup import owners
from jidoteki.plugins.backup.descriptors import closing
from jidoteki.plugins.backup.journal import Entry

NEW: Final = "new"
OLD: Final = "old"
KEY: Final = "key"
LIST: Final = "left-out"
"""The archive's list of missing paths."""
MODE: Final = 0o700
EMPTYING_TIMEOUT: Final = 60.0
"""Time limit in seconds for removing a directory, to which another process could keep adding files."""
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """An open restore directory; a context manager.

    :param data: descriptor of the data directory, or of a mount point in it; it stays open.
    :param name: of the restore directory in it.
    :param mounted: whether it is on a file system mounted below the data, which may support neither owners nor modes
        (FAT, or a Windows share): then only the key identifies it.
    :raises OSError: it cannot be entered, or is not a directory.
    """

    def __init__(self, data: int, name: str, mounted: bool = False) -> None:
        self.name = name
        self._mounted = mounted
        self._data = data
        self.descriptor = os.open(name, DIRECTORY, dir_fd=data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    @contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """Open the directory of the new or of the old tree in a `with` block.

        :raises OSError: it cannot be opened.
        """
        with closing(os.open(name, DIRECTORY, dir_fd=self.descriptor)) as descriptor:
            yield descriptor

    def is_own(self) -> bool:
        """Return whether it is owned by this user and closed to others."""
        status = os.fstat(self.descriptor)
        return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == MODE

    def has(self, key: str) -> bool:
        """Return whether it was created with this key."""
        try:
            return (self._mounted or self.is_own()) and read_regular(
                KEY, len(key), dir_fd=self.descriptor
            ) == key.encode()
        except OSError:
            return False

    def fill(self, key: str) -> None:
        """Prepare an empty one for use.

        :raises OSError: it cannot be prepared, or somebody else has replaced it.
        """
        if self._is_somebody_elses() or os.listdir(self.descriptor):
            raise OSError(errno.EBUSY, "the directory for the restored data was replaced by another one")
        # Inherited from the data directory: its set-group-id bit, and default ACLs.
        for acl in (posix_acl.ACCESS, posix_acl.DEFAULT):
            with suppress(OSError):
                os.removexattr(self.descriptor, acl)
        with suppress(*((PermissionError,) if self._mounted else ())):
            os.fchmod(self.descriptor, MODE)
        with closing(os.open(KEY, _NEW_FILE, 0o600, dir_fd=self.descriptor)) as descriptor:
            os.write(descriptor, key.encode())
            os.fsync(descriptor)
        for name in (NEW, OLD):
            os.mkdir(name, MODE, dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def _is_somebody_elses(self) -> bool:
        if os.fstat(self.descriptor).st_uid == os.geteuid():
            return False
        if self._mounted:
            try:
                os.fchown(self.descriptor, os.geteuid(), -1)
            except OSError:
                return False
            # On a file system with owners, it would have had this one.
            return os.fstat(self.descriptor).st_uid == os.geteuid()
        return True

    def take_list(self) -> None:
        """Move the archive's list of missing paths out of the new tree, if there is one.

        :raises OSError: it cannot be moved.
        """
        with self.opened(NEW) as new:
            if LEFT_OUT in os.listdir(new):
                os.rename(LEFT_OUT, LIST, src_dir_fd=new, dst_dir_fd=self.descriptor)

    def read_list(self, limit: int) -> bytes:
        """Return that list; empty when there is none.

        :param limit: largest size in bytes.
        :raises OSError: it cannot be read, or is longer.
        """
        try:
            return read_regular(LIST, limit, dir_fd=self.descriptor)
        except FileNotFoundError:
            return b""

    def remove(self) -> bool:
        """Remove it with all its content, the key last; return whether it is gone."""
        for name in (NEW, OLD):
            with suppress(OSError):  # it may be gone already
                with self.opened(name) as directory:
                    _empty(directory)
                os.rmdir(name, dir_fd=self.descriptor)
        return self.remove_last()

    def remove_empty(self) -> None:
        """Remove a newly created one, if it is still empty."""
        for name in (NEW, OLD):
            with suppress(OSError):
                os.rmdir(name, dir_fd=self.descriptor)
        self.remove_last()

    def remove_last(self) -> bool:
        with suppress(OSError):
            if set(os.listdir(self.descriptor)) <= {KEY, LIST}:
                with suppress(FileNotFoundError):
                    os.unlink(LIST, dir_fd=self.descriptor)
                with suppress(FileNotFoundError):
                    os.unlink(KEY, dir_fd=self.descriptor)
                os.rmdir(self.name, dir_fd=self._data)
                return True
        return False


def make(data: int, entry: Entry, mounted: bool = False) -> Staging:
    """Create a restore directory.

    :raises OSError: it cannot be created.
    """
    os.mkdir(entry.staging, MODE, dir_fd=data)
    staging = Staging(data, entry.staging, mounted)
    try:
        staging.fill(entry.key)
    except BaseException:
        staging.remove_empty()
        os.close(staging.descriptor)
        raise
    return staging


def set_aside(name: str, directory: int, old: int) -> None:
    """Move an entry to the old tree, to be removed with the restore directory.

    :param old: descriptor of the directory of the old tree.
    :raises OSError: it cannot be moved.
    """
    os.rename(name, secrets.token_hex(8), src_dir_fd=directory, dst_dir_fd=old)


def find(data: int, entry: Entry, mounted: bool = False) -> Staging | None:
    """Find a restore directory in the data directory by its key, even if it was renamed."""
    return next((found for name in _candidates(data, entry) if (found := _with_key(data, name, entry, mounted))), None)


def _candidates(data: int, entry: Entry) -> Iterator[str]:
    yield entry.staging
    with os.scandir(data) as entries:
        yield from (each.name for each in entries if each.is_dir(follow_symlinks=False))


def _with_key(data: int, name: str, entry: Entry, mounted: bool) -> Staging | None:
    with suppress(OSError):
        staging = Staging(data, name, mounted)
        if staging.has(entry.key):
            return staging
        os.close(staging.descriptor)
    return None


def remove(data: int, entry: Entry, mounted: bool = False) -> bool:
    """Remove a restore directory, even an incomplete one; return whether it is gone."""
    staging = find(data, entry, mounted)
    if staging:
        with staging:
            return staging.remove()
    with suppress(FileNotFoundError), Staging(data, entry.staging, mounted) as unfinished:
        return (mounted or unfinished.is_own()) and unfinished.remove_last()
    return True


def _empty(directory: int) -> None:
    """Remove all content of a directory, of any depth, unless somebody keeps adding files."""
    deadline = time.monotonic() + EMPTYING_TIMEOUT
    while time.monotonic() < deadline:
        if not sum(_remove(name, directory) for name in os.listdir(directory)):
            return


def _remove(name: str, directory: int) -> bool:
    """Remove a file, or a directory, whose subdirectories are moved beside it; return whether it is gone."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        with suppress(OSError):
            _flatten(name, directory)
            os.rmdir(name, dir_fd=directory)
            return True
    except OSError:
        pass
    else:
        return True
    return False


def _flatten(name: str, directory: int) -> None:
    with closing(os.open(name, DIRECTORY, dir_fd=directory)) as inner:
        # A process that has it open can then add no more files, which would be removed with it.
        with suppress(PermissionError):
            owners.close(inner, MODE)
        for each in os.listdir(inner):
            with suppress(OSError):
                try:
                    os.unlink(each, dir_fd=inner)
                except IsADirectoryError:
                    os.rename(each, secrets.token_hex(16), src_dir_fd=inner, dst_dir_fd=directory)

"""Opening files that somebody else may have put there: no untrusted symlinks, no blocking, no more than a limit.

A directory to which others write is entered component by component through descriptors, so that one swapped for a
symbolic link in the meantime is not followed (what openat2(2) calls RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, on every
kernel).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotTrustedError(PermissionError):
    """A file that is owned or writable by somebody other than root and the user of this process."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(errno.EPERM, "Somebody else than root and the service owns it or may write to it", str(path))


MAX_READ: Final = 8 * 1024 * 1024
MAX_LINKS: Final = 40
"""Symbolic links followed in one path, as many as the kernel follows."""
_PASSED: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def directory_beneath(directory: int, components: Sequence[str]) -> int:
    """Open a directory below another one and return its descriptor.

    :param directory: descriptor of a directory; it stays open.
    :param components: names without `/`; empty to open `directory` itself once more.
    :raises OSError: one of them is missing, not a directory, a symbolic link, `..`, or not accessible.
    """
    current = os.open(".", DIRECTORY, dir_fd=directory)
    try:
        for name in components:
            if name == ".." or "/" in name:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            inner = os.open(name, DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
    except BaseException:
        os.close(current)
        raise
    return current


def sync_directory(path: str | Path) -> None:
    """Sync a directory to disk, so that renames and removals in it are durable.

    :raises OSError: that is impossible, or it is missing.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path, mode: int = 0o755) -> None:
    """Make a directory, and those above it that are missing, if it is not there.

    Others may enter those above, whatever the umask is: the service's and that of jobs keep new files to themselves,
    but other programs and users have to get to the files that are for them.

    :param mode: of the directory itself.
    :raises OSError: one cannot be made, or something else is in its place.
    """
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_directories(path.parent)
    try:
        path.mkdir(0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(mode)


@contextmanager
def directory(path: str | Path, *, dir_fd: int | None = None) -> Iterator[int]:
    """Open a directory in a `with` block; symbolic links are followed only where nobody else can have put them.

    :param path: absolute, or relative to `dir_fd`.
    :raises OSError: it is missing, not a directory, or behind a link in a directory that somebody else may write to.
    """
    descriptor = _walk(Path(path), dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def resolved(path: str | Path, *, dir_fd: int | None = None) -> Iterator[tuple[int, str]]:
    """Resolve a path, following symbolic links that nobody else can have put there.

    :param path: absolute, or relative to `dir_fd`.
    :return: the descriptor of the directory that it is in, and its name there, which may still be another's link.
    :raises OSError: the directory does not exist.
    """
    path = Path(path)
    current = _walk(path.parent, dir_fd)
    try:
        for _ in range(MAX_LINKS):
            target = _trusted_link(path.name, current)
            if target is None:
                break
            path = target
            inner = _walk(path.parent, current)
            os.close(current)
            current = inner
        yield current, path.name
    finally:
        os.close(current)


def _walk(path: Path, dir_fd: int | None) -> int:
    current = os.open("/" if path.is_absolute() else ".", _PASSED, dir_fd=dir_fd)
    pending = [part for part in reversed(path.parts) if part != "/"]
    links = 0
    try:
        while pending:
            name = pending.pop()
            try:
                inner = os.open(name, _PASSED, dir_fd=current)
            except OSError as error:
                target = _trusted_link(name, current)
                links += 1
                if target is None or links > MAX_LINKS:
                    raise error
                pending += [part for part in reversed(target.parts) if part != "/"]
                inner = os.open("/" if target.is_absolute() else ".", _PASSED, dir_fd=current)
            os.close(current)
            current = inner
        return os.open(".", DIRECTORY, dir_fd=current)
    finally:
        os.close(current)


def _trusted_link(name: str, parent: int) -> Path | None:
    """Return the target of a symbolic link if nobody else can have put it there; else None."""
    try:
        return Path(os.readlink(name, dir_fd=parent)) if is_private(os.fstat(parent)) else None
    except OSError:
        return None


def is_private(status: os.stat_result) -> bool:
    """Return whether only root and the user of this process can write to a file, or create files in a directory."""
    return is_own(status) and not status.st_mode & 0o022


def is_own(status: os.stat_result) -> bool:
    """Return whether the owner is root or the user of this process."""
    return status.st_uid in (0, os.geteuid())


def open_regular(path: str | Path, *, dir_fd: int | None = None, follow: bool = False) -> int:
    """Open a regular file for reading and return its descriptor; a pipe or device does not block.

    :param dir_fd: descriptor of the directory that `path` is relative to.
    :param follow: whether the path may be a symbolic link owned by root or the user of this process.
    :raises NotTrustedError: it is somebody else's link.
    :raises OSError: it is missing, cannot be read, or is not a regular file.
    """
    status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    linked = follow and stat.S_ISLNK(status.st_mode)
    if linked:
        if not is_own(status):
            raise NotTrustedError(path)
        status = os.stat(path, dir_fd=dir_fd)
    # Checked before it is opened: opening a device may have an effect of its own.
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(path)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if linked else os.O_NOFOLLOW)
    return _if_regular(os.open(path, flags, dir_fd=dir_fd), path)


def append_regular(path: str | Path, mode: int = 0o600) -> int:
    """Open a regular file for appending, create it if it is missing, and return its descriptor.

    :raises NotTrustedError: somebody else owns it, and could read or forge its content.
    :raises OSError: it cannot be created or written, or is a symbolic link, a pipe (which does not block) or the like.
    """
    descriptor = _if_regular(os.open(path, _APPEND, mode), path)
    if is_own(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise NotTrustedError(path)


def _if_regular(descriptor: int, path: str | Path) -> int:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _not_regular(path)


def _not_regular(path: str | Path) -> OSError:
    return OSError(errno.EINVAL, "It is not a regular file", str(path))


def read_regular(path: str | Path, limit: int = MAX_READ, *, dir_fd: int | None = None, follow: bool = False) -> bytes:
    """Return the content of a regular file.

    :param limit: largest size in bytes.
    :raises OSError: as `open_regular`, or it is longer than the limit (EFBIG).
    """
    with open(open_regular(path, dir_fd=dir_fd, follow=follow), "rb") as file:
        return _read(file, limit)


def read_own(path: str | Path, limit: int = MAX_READ) -> bytes:
    """Return the content of a regular file that only root and the user of this process can write.

    :param limit: largest size in bytes.
    :raises NotTrustedError: somebody else owns it or may write to it.
    :raises OSError: as `read_regular`.
    """
    with open(open_regular(path), "rb") as file:
        if not is_private(os.fstat(file.fileno())):
            raise NotTrustedError(path)
        return _read(file, limit)


def open_trusted(path: str | Path) -> int:
    """Open a regular file owned by root or the user of this process, and return its descriptor.

    Use it for files that grant rights or are executed, in a directory in which others may create files: they could have
    created a missing one first. A symbolic link must have such an owner, too. The file may be group-writable, but not
    if it has a second hard link: whoever may write to a file may link it elsewhere.

    :raises NotTrustedError: somebody else owns it.
    :raises OSError: as `open_regular`.
    """
    descriptor = open_regular(path, follow=True)
    status = os.fstat(descriptor)
    if is_own(status) and (is_private(status) or status.st_nlink == 1):
        return descriptor
    os.close(descriptor)
    raise NotTrustedError(path)


def read_trusted(path: str | Path, limit: int = MAX_READ) -> bytes:
    """Return the content of a file that `open_trusted` opens.

    :param limit: largest size in bytes.
    :raises OSError: as `open_trusted`, or it is longer than the limit (EFBIG).
    """
    with open(open_trusted(path), "rb") as file:
        return _read(file, limit)


def _read(file: IO[bytes], limit: int) -> bytes:
    content = file.read(limit + 1) or b""  # None where no data is ready, as in files of the kernel
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"It is longer than {limit} bytes")
    return content

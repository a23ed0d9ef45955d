"""Atomic replacement of files, one or several at once, and a cache for small files."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from jidoteki.core.files import locks, ownership, replacing, unrenamable
from jidoteki.core.files.leftovers import temporary_name
from jidoteki.hookspecs import paths

T = TypeVar("T")

logger = logging.getLogger(__name__)

LOCK_TRIES = 3000
UNREADABLE = (0, 0, 0)


def write_all(descriptor: int, content: bytes | bytearray | memoryview) -> None:
    """Write all of `content`: `os.write` may write less."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_temporary(path: Path, content: bytes, mode: int, group: int | None = None, durable: bool = True) -> Path:
    temporary = path.with_name(temporary_name())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            ownership.give(file.fileno(), path, mode, group)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def replace_file(path: Path, content: bytes, mode: int = 0o644, durable: bool = True, group: int | None = None) -> None:
    """Replace a file atomically.

    :param mode: of a new file; see `ownership` for the bits that it gets, and for what an existing file keeps.
    :param group: of a new file.
    :param durable: whether to sync it, so that the new content survives a power cut.
    :raises OSError: the old content is still there.
    """
    paths.make_directories(path.parent)
    temporary = _write_temporary(path, content, mode, group, durable)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        paths.sync_directory(path.parent)


def create_file(path: Path, content: bytes, mode: int = 0o600, group: int | None = None) -> bool:
    """Create a file atomically with its content; return False when it exists already."""
    paths.make_directories(path.parent)
    temporary = _write_temporary(path, content, mode, group)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    paths.sync_directory(path.parent)
    return True


def replace_files(
    files: Mapping[Path, bytes], journal_directory: Path, modes: Mapping[Path, int], group: int | None = None
) -> None:
    """Replace several files atomically: all are old or, once `finish_replacing` has run, all are new.

    The new contents are written beside their targets, then a journal lists the renames: once it is on disk they are
    made, by this call or, after a kill, by `finish_replacing`. If one of them fails, because the file is a mount point
    or immutable, say, the others are undone. A lock keeps other processes waiting.

    :raises OSError: nothing was changed; or the message names a file that could not be restored.
    """
    with _one_at_a_time(journal_directory):
        replacing.finish(journal_directory)
        _write_and_rename(files, journal_directory, modes, group)


def _write_and_rename(
    files: Mapping[Path, bytes], journal_directory: Path, modes: Mapping[Path, int], group: int | None
) -> None:
    temporaries: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            paths.make_directories(path.parent)
            temporaries[path] = _write_temporary(path, content, modes[path], group)
        unrenamable.check(files)
        for directory in {path.parent for path in files}:
            paths.sync_directory(directory)
        renames = [replacing.Rename(str(temporary), str(path)) for path, temporary in temporaries.items()]
        replace_file(journal_directory / replacing.JOURNAL, replacing.encode(renames), 0o600)
    except BaseException:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise
    replacing.finish(journal_directory, may_wait=False)


def finish_replacing(journal_directory: Path) -> None:
    """Complete the renames of a `replace_files` that was killed.

    :raises OSError: they fail, now or permanently; then they are undone.
    """
    with _one_at_a_time(journal_directory):
        replacing.finish(journal_directory)


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    with locks.holding(directory / "replace.lock", LOCK_TRIES):
        yield


def tail(path: Path, lines: int, limit: int = 64 * 1024) -> str | None:
    """Return the last `lines` lines joined by newlines, from at most `limit` bytes; None when there are none.

    :raises OSError: it cannot be read, or is a symbolic link, a pipe or the like.
    """
    try:
        with open(paths.open_regular(path), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            content = file.read(limit)
    except (FileNotFoundError, NotADirectoryError):
        return None
    last = content.decode("utf-8", "replace").rstrip("\n").split("\n")[-lines:]
    return "\n".join(last) or None


class CachedFile(Generic[T]):
    """A small file that is parsed again when its modification time, size or inode changes.

    It is checked once in each step of the event loop: a step answers requests that were received before it began, so
    no answer is older than its request.
    """

    __slots__ = ("_checked", "_identity", "_limit", "_open", "_parse", "_path", "_value")

    def __init__(
        self, path: Path, parse: Callable[[bytes], T], limit: int = 1024 * 1024, trusted: bool = False
    ) -> None:
        self._path = str(path)
        self._parse = parse
        self._limit = limit
        self._open = paths.open_trusted if trusted else partial(paths.open_regular, follow=True)
        self._identity: tuple[int, int, int] | None = None
        self._value: T | None = None
        self._checked = False

    @property
    def present(self) -> bool:
        """Whether the file existed when it was last checked."""
        return self._identity is not None

    def get(self) -> T | None:
        """Return the parsed content, or None when the file is missing; call it in the event loop.

        :raises OSError: it exists but cannot be read, or is longer than the limit.
        :raises Exception: any that `parse` raises.
        """
        if not self._checked:
            self._refresh()
            self._checked = True
            asyncio.get_running_loop().call_soon(self._expire)  # runs before the next step's input is handled
        return self._value

    def _expire(self) -> None:
        self._checked = False

    def _refresh(self) -> None:
        try:
            if _identity(os.stat(self._path)) == self._identity:
                return
            with open(self._open(self._path), "rb") as file:
                content = file.read(self._limit + 1) or b""
                identity = _identity(os.fstat(file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            self._value = self._identity = None
            return
        except OSError as error:
            if self._identity != UNREADABLE and not isinstance(error, paths.NotTrustedError):
                logger.error("%s cannot be read: %s", self._path, error.strerror or error)
            self._identity = UNREADABLE
            raise
        if len(content) > self._limit:
            self._identity = UNREADABLE
            raise OSError(errno.EFBIG, f"It is longer than {self._limit} bytes", self._path)
        self._value = self._parse(content)
        self._identity = identity


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino

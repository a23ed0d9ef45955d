"""The journal of a restore, by which it is recovered after a kill: its directory, and the state of its plan.

The plan is a file beside the journal, which records when it is complete. Both are in `ADMIN/jobs`, or in a directory of
root's where root restores, which nobody else can write to, and are validated like external input all the same; invalid
ones are set aside.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance
from jidoteki.hookspecs.paths import open_regular, read_regular
from jidoteki.hookspecs.restorable import RESERVED
from jidoteki.plugins.backup import plan_lines
from jidoteki.plugins.backup.error_messages import about
from jidoteki.plugins.backup.locking import hold
from jidoteki.plugins.backup.plan_lines import Line, Tell

STAGING: Final = f"{RESERVED}restore-"
"""The prefix of the names of restore directories."""
MAX_SIZE: Final = 8 * 1024 * 1024
MAX_MOUNTS: Final = 1000
"""The most other file systems that a restore may write to."""
MAX_LINES: Final = 1 << 32
_SUFFIX: Final = ".journal"
_PLAN: Final = ".journal-plan"
_LOCK: Final = ".journal-lock"
_DAMAGED: Final = ".journal-damaged-"
_NEW_LOCK: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_PLAN: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES: Final = 50


class DamagedJournalError(Exception):
    """An invalid journal."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The content of a journal."""

    staging: str
    """The name of the restore directory in the data directory."""
    key: str
    """The content of a file in that directory, which identifies it."""
    mounts: tuple[str, ...] = ()
    """The mount points below the data directory of other file systems with such a directory."""
    plan: int | None = None
    """The number of lines of the plan to carry out; None as long as it is incomplete, and once it is done."""
    back: tuple[str, ...] = ()
    """The paths of the file systems on which it is to be rolled back; on the others all is then done."""
    done: bool = False
    """Whether a plan was carried out completely."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all file systems with such a directory."""
        return ("", *self.mounts)


def _count(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_LINES):
        raise vol.Invalid("must be a number of lines")
    return value


_SCHEMA: Final = vol.Schema(
    {
        vol.Required("staging"): vol.All(str, vol.Match(re.compile(rf"{re.escape(STAGING)}[0-9a-f]{{16}}\Z"))),
        vol.Required("key"): vol.All(str, vol.Match(re.compile(r"[0-9a-f]{32}\Z"))),
        vol.Optional("mounts", default=list): vol.All([plan_lines.path], vol.Length(max=MAX_MOUNTS), vol.Coerce(tuple)),
        vol.Required("plan"): _count,
        vol.Optional("back", default=list): vol.All(
            [plan_lines.path], vol.Length(max=MAX_MOUNTS + 1), vol.Coerce(tuple)
        ),
        vol.Optional("done", default=False): bool,
    }
)


class Journal:
    """The journal of one restore.

    :param id: the id of the job.
    """

    def __init__(self, appliance: Appliance, id: str) -> None:
        self.id = id
        self._appliance = appliance
        self._path = appliance.guarded / f"{id}{_SUFFIX}"
        self._plan = appliance.guarded / f"{id}{_PLAN}"
        self._lock = appliance.guarded / f"{id}{_LOCK}"

    def create(self) -> Entry:
        """Create and lock the journal; the lock is released when this process ends.

        :raises OSError: it cannot be created.
        """
        for _ in range(_TRIES):
            # A search for abandoned journals may lock and remove it in between.
            self._make_lock()
            if hold(self._lock) is not None:
                break
        else:
            raise OSError("the journal of the restore cannot be locked")
        # Random, so that nobody can have used the name before.
        return self.write(Entry(f"{STAGING}{secrets.token_hex(8)}", secrets.token_hex(16)))

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Try to lock the journal in a `with` block; yield whether that succeeded."""
        descriptor = None
        with suppress(OSError):
            self._make_lock()
            descriptor = hold(self._lock)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _make_lock(self) -> None:
        os.close(os.open(self._lock, _NEW_LOCK, 0o600))

    def read(self) -> Entry | None:
        """Return the content; None when there is no journal.

        :raises DamagedJournalError: it is invalid.
        """
        try:
            return Entry(**_SCHEMA(json.loads(read_regular(self._path, MAX_SIZE))))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, vol.Invalid) as error:
            raise DamagedJournalError(str(error)) from error

    def write(self, entry: Entry) -> Entry:
        """Replace the content, durably, and return it.

        :raises OSError: the old one is unchanged.
        """
        text = json.dumps(asdict(entry))
        with about(str(self._path)):
            self._appliance.replace_file(self._path, text.ljust(2 * len(text)), mode=0o600)
        return entry

    def plan(self, count: int | None, back: Iterable[str] = (), done: bool = False) -> Entry:
        """Record the number of lines of the plan to carry out, and return the new content.

        :param back: the paths of the file systems on which they are to be rolled back.
        :param done: whether all of them were carried out.
        :raises OSError: the journal is unchanged.
        """
        entry = self.read()
        if entry is None:
            raise OSError("the journal of the restore is gone")
        entry = replace(entry, plan=count, back=tuple(back), done=done)
        try:
            self.write(entry)
        except OSError:
            if count is not None and not entry.back:
                raise
            self._write_over(entry)
        return entry

    def _write_over(self, entry: Entry) -> None:
        """Overwrite the file in place if the disk is full; it was padded for that."""
        content = json.dumps(asdict(entry)).encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            content += b" " * (os.fstat(descriptor).st_size - len(content))
            os.pwrite(descriptor, content, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_plan(self, lines: Iterable[Line]) -> int:
        """Write the plan, durably, and return the number of its lines.

        :raises OSError: it cannot be written.
        """
        self._plan.unlink(missing_ok=True)
        count = 0
        with open(os.open(self._plan, _NEW_PLAN, 0o600), "wb") as file:
            for line in lines:
                with about(str(self._plan)):
                    file.write(plan_lines.encode(line))
                count += 1
            with about(str(self._plan)):
                file.flush()
                os.fsync(file.fileno())
        return count

    def lines(self, count: int, backwards: bool = False) -> Iterator[tuple[int, Line]]:
        """Yield the lines of the plan with their numbers, from 0.

        :param count: the number of its lines.
        :raises DamagedJournalError: it has another number of lines, or an invalid one.
        """
        try:
            with open(open_regular(self._plan), "rb") as file:
                starts = array("Q")
                for number in range(count):
                    starts.append(file.tell())
                    line = file.readline(plan_lines.MAX_LINE)
                    if not backwards:
                        yield number, plan_lines.decode(line)
                if file.read(1):
                    raise DamagedJournalError("its plan is too long")
                for number in reversed(range(count if backwards else 0)):
                    file.seek(starts[number])
                    yield number, plan_lines.decode(file.readline(plan_lines.MAX_LINE))
        except (OSError, ValueError) as error:
            raise DamagedJournalError(str(error)) from error

    def remove(self) -> None:
        """Remove the journal when nothing is left to do.

        :raises OSError: it cannot be removed.
        """
        self._path.unlink(missing_ok=True)
        self._plan.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Rename the journal so that it is ignored, and return the new path.

        :raises OSError: it cannot be renamed.
        """
        aside = self._path.with_name(f"{self.id}{_DAMAGED}{secrets.token_hex(4)}")
        os.rename(self._path, aside)
        with suppress(FileNotFoundError):
            os.rename(self._plan, f"{aside}{_PLAN}")
        self.remove()
        return aside


def abandoned(appliance: Appliance, tell: Tell) -> Iterator[tuple[Journal, Entry]]:
    """Yield the journals of dead processes, each of them locked meanwhile.

    :param tell: called with a message for each invalid one, which is set aside.
    """
    for journal in _all(appliance):
        with journal.held() as held:
            entry = _read(journal, tell) if held else None
            if entry:
                yield journal, entry


def unfinished(appliance: Appliance) -> Iterator[str]:
    """Yield the ids of the restores that have begun to change the data and are not complete, running or waiting."""
    for journal in _all(appliance):
        with suppress(DamagedJournalError):
            entry = journal.read()
            if entry and entry.plan is not None:
                with journal.held() as held:
                    if not (held and entry.back):
                        yield journal.id


def _all(appliance: Appliance) -> Iterator[Journal]:
    names = (path.name for path in appliance.guarded.iterdir())
    ids = {name.removesuffix(end) for name in names for end in (_SUFFIX, _LOCK) if name.endswith(end)}
    return (Journal(appliance, id) for id in sorted(ids))


def _read(journal: Journal, tell: Tell) -> Entry | None:
    try:
        entry = journal.read()
        if entry is None:
            journal.remove()
        elif entry.plan is not None:
            for _ in journal.lines(entry.plan):
                pass
        return entry
    except DamagedJournalError as damage:
        try:
            tell(f"The journal of {journal.id} makes no sense and is not followed; it is kept as {journal.set_aside()}")
        except OSError as error:
            tell(f"The journal of {journal.id} makes no sense ({damage}) and cannot be set aside: {error.strerror}")
    except OSError as error:
        tell(f"The journal of {journal.id} cannot be removed: {error.strerror}")
    return None

"""What a restore must know of itself after a kill: where its directory is, and whether there is a plan to carry out.

The plan lies beside the journal, which says when it is complete. Both lie in `ADMIN/jobs`, which nobody else can write
to, and are read like input from outside all the same: what they say is checked before it is acted on, and what makes no
sense is set aside.
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
from jidoteki.plugins.backup import plans
from jidoteki.plugins.backup.locking import hold
from jidoteki.plugins.backup.plans import Line, Tell
from jidoteki.plugins.backup.reasons import about

STAGING: Final = f"{RESERVED}restore-"
"""How the names of the directories begin that restores work in."""
MAX_SIZE: Final = 8 * 1024 * 1024
MAX_MOUNTS: Final = 1000
"""On how many other file systems one restore may put something."""
MAX_LINES: Final = 1 << 32
_SUFFIX: Final = ".journal"
_PLAN: Final = ".journal-plan"
_LOCK: Final = ".journal-lock"
_DAMAGED: Final = ".journal-damaged-"
_NEW_LOCK: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_PLAN: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES: Final = 50


class Damaged(Exception):
    """A journal makes no sense."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a journal says."""

    staging: str
    """The name of the restore's directory in the data directory."""
    key: str
    """What a file in that directory holds, so that no other one is taken for it."""
    mounts: tuple[str, ...] = ()
    """Where file systems are mounted, below the data directory, that have such a directory, too."""
    plan: int | None = None
    """How many lines of a plan are to be carried out; None as long as there is no complete one, and once it is done."""
    back: tuple[str, ...] = ()
    """The paths of the file systems on which they are to be taken back instead; on the others all is done then."""
    done: bool = False
    """Whether a plan was carried out as a whole."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all file systems that have such a directory."""
        return ("", *self.mounts)


def _count(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_LINES):
        raise vol.Invalid("must be a number of lines")
    return value


_SCHEMA: Final = vol.Schema(
    {
        vol.Required("staging"): vol.All(str, vol.Match(re.compile(rf"{re.escape(STAGING)}[0-9a-f]{{16}}\Z"))),
        vol.Required("key"): vol.All(str, vol.Match(re.compile(r"[0-9a-f]{32}\Z"))),
        vol.Optional("mounts", default=list): vol.All([plans.path], vol.Length(max=MAX_MOUNTS), vol.Coerce(tuple)),
        vol.Required("plan"): _count,
        vol.Optional("back", default=list): vol.All([plans.path], vol.Length(max=MAX_MOUNTS + 1), vol.Coerce(tuple)),
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
        self._path = appliance.jobs / f"{id}{_SUFFIX}"
        self._plan = appliance.jobs / f"{id}{_PLAN}"
        self._lock = appliance.jobs / f"{id}{_LOCK}"

    def create(self) -> Entry:
        """Begin it: it is this process's own until that ends.

        :raises OSError: that is impossible.
        """
        for _ in range(_TRIES):
            # Whoever looks for journals of dead processes may lock and remove it in between.
            self._make_lock()
            if hold(self._lock) is not None:
                break
        else:
            raise OSError("the journal of the restore cannot be locked")
        # A name that nobody else can have put something under before.
        return self.write(Entry(f"{STAGING}{secrets.token_hex(8)}", secrets.token_hex(16)))

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold its lock for a while, if nobody else does; whether it is held."""
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
        """Return what it says; None when there is none.

        :raises Damaged: it makes no sense.
        """
        try:
            return Entry(**_SCHEMA(json.loads(read_regular(self._path, MAX_SIZE))))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, vol.Invalid) as error:
            raise Damaged(str(error)) from error

    def write(self, entry: Entry) -> Entry:
        """Replace it, durably, and return the entry.

        :raises OSError: the old one is there.
        """
        text = json.dumps(asdict(entry))
        with about(str(self._path)):
            self._appliance.replace_file(self._path, text.ljust(2 * len(text)), mode=0o600)
        return entry

    def plan(self, count: int | None, back: Iterable[str] = (), done: bool = False) -> Entry:
        """Say how many lines of the plan are to be carried out, and return what it says now.

        :param back: the paths of the file systems on which they are to be taken back.
        :param done: whether all of them were carried out.
        :raises OSError: it says what it said before.
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
        """Say it where there is no room for another file: the old one was made long enough."""
        content = json.dumps(asdict(entry)).encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            content += b" " * (os.fstat(descriptor).st_size - len(content))
            os.pwrite(descriptor, content, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_plan(self, lines: Iterable[Line]) -> int:
        """Write the plan beside the journal, durably, and return how many lines it has.

        :raises OSError: that is impossible.
        """
        self._plan.unlink(missing_ok=True)
        count = 0
        with open(os.open(self._plan, _NEW_PLAN, 0o600), "wb") as file:
            for line in lines:
                with about(str(self._plan)):
                    file.write(plans.encode(line))
                count += 1
            with about(str(self._plan)):
                file.flush()
                os.fsync(file.fileno())
        return count

    def lines(self, count: int, backwards: bool = False) -> Iterator[tuple[int, Line]]:
        """Give out the plan, each line with its number, from 0.

        :param count: how many lines it has.
        :raises Damaged: it has another number of lines, or one that makes no sense.
        """
        try:
            with open(open_regular(self._plan), "rb") as file:
                starts = array("Q")
                for number in range(count):
                    starts.append(file.tell())
                    line = file.readline(plans.MAX_LINE)
                    if not backwards:
                        yield number, plans.decode(line)
                if file.read(1):
                    raise Damaged("its plan is too long")
                for number in reversed(range(count if backwards else 0)):
                    file.seek(starts[number])
                    yield number, plans.decode(file.readline(plans.MAX_LINE))
        except (OSError, ValueError) as error:
            raise Damaged(str(error)) from error

    def remove(self) -> None:
        """Remove it, when nothing is left to do.

        :raises OSError: that is impossible.
        """
        self._path.unlink(missing_ok=True)
        self._plan.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Keep it under a name by which nobody acts on it, and return that.

        :raises OSError: that is impossible.
        """
        aside = self._path.with_name(f"{self.id}{_DAMAGED}{secrets.token_hex(4)}")
        os.rename(self._path, aside)
        with suppress(FileNotFoundError):
            os.rename(self._plan, f"{aside}{_PLAN}")
        self.remove()
        return aside


def abandoned(appliance: Appliance, tell: Tell) -> Iterator[tuple[Journal, Entry]]:
    """Give out the journals whose process has died, each locked for as long as it is looked at.

    :param tell: told of those that make no sense, which are set aside.
    """
    for journal in _all(appliance):
        with journal.held() as held:
            entry = _read(journal, tell) if held else None
            if entry:
                yield journal, entry


def unfinished(appliance: Appliance) -> Iterator[str]:
    """Give out the ids of the restores of which the data are half made: what waits, and what somebody is at."""
    for journal in _all(appliance):
        with suppress(Damaged):
            entry = journal.read()
            if entry and entry.plan is not None:
                with journal.held() as held:
                    if not (held and entry.back):
                        yield journal.id


def _all(appliance: Appliance) -> Iterator[Journal]:
    names = (path.name for path in appliance.jobs.iterdir())
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
    except Damaged as damage:
        try:
            tell(f"The journal of {journal.id} makes no sense and is not followed; it is kept as {journal.set_aside()}")
        except OSError as error:
            tell(f"The journal of {journal.id} makes no sense ({damage}) and cannot be set aside: {error.strerror}")
    except OSError as error:
        tell(f"The journal of {journal.id} cannot be removed: {error.strerror}")
    return None

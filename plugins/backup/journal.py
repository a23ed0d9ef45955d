"""What a restore must know of itself after a kill: where its directory is, and which renames are to be made.

Journals lie in `ADMIN/jobs`, which nobody else can write to, and are read like input from outside all the same: what
they say is checked before it is acted on, and one that makes no sense is set aside.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance
from jidoteki.hookspecs.paths import read_regular
from jidoteki.hookspecs.restorable import RESERVED, is_reserved
from jidoteki.plugins.backup.locking import hold

Plan = list[tuple[str, bool]]
"""What is replaced, by its path below the data directory, and whether something new takes its place."""
Tell = Callable[[str], None]

STAGING: Final = f"{RESERVED}restore-"
"""How the names of the directories begin that restores work in."""
MAX_SIZE: Final = 64 * 1024 * 1024
_SUFFIX: Final = ".journal"
_LOCK: Final = ".journal-lock"
_DAMAGED: Final = ".journal-damaged-"
_NEW_LOCK: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
    plan: Plan | None = None
    """The renames that are to be made; None as long as there are none, and once all are made."""


def _path(value: Any) -> str:
    """Accept a path below the data directory, in its shortest form, that leads to nothing of the program's own."""
    if not isinstance(value, str) or "\0" in value:
        raise vol.Invalid("must be a path")
    components = value.split("/")
    if any(each in ("", ".", "..") or is_reserved(each) for each in components):
        raise vol.Invalid("must be a path below the data directory")
    os.fsencode(value)
    return value


def _plan(value: Any) -> Plan:
    """Accept pairs of a path and whether something new comes there."""
    if not isinstance(value, list):
        raise vol.Invalid("must be a list")
    plan = []
    for pair in value:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], bool)):
            raise vol.Invalid("must hold pairs of a path and a boolean")
        plan.append((_path(pair[0]), pair[1]))
    if len({path for path, _ in plan}) != len(plan):
        raise vol.Invalid("must hold each path once")
    return plan


_SCHEMA: Final = vol.Schema(
    {
        vol.Required("staging"): vol.All(str, vol.Match(re.compile(rf"{re.escape(STAGING)}[0-9a-f]{{16}}\Z"))),
        vol.Required("key"): vol.All(str, vol.Match(re.compile(r"[0-9a-f]{32}\Z"))),
        vol.Required("plan"): vol.Any(None, _plan),
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
        content = json.dumps(asdict(entry))
        if len(content) > MAX_SIZE:
            raise OSError("there are too many files to replace")
        self._appliance.replace_file(self._path, content, mode=0o600)
        return entry

    def plan(self, plan: Plan | None) -> None:
        """Say which renames are to be made.

        :raises OSError: it says what it said before.
        """
        entry = self.read()
        if entry is None:
            raise OSError("the journal of the restore is gone")
        self.write(replace(entry, plan=plan))

    def remove(self) -> None:
        """Remove it, when nothing is left to do.

        :raises OSError: that is impossible.
        """
        self._path.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Keep it under a name by which nobody acts on it, and return that.

        :raises OSError: that is impossible.
        """
        aside = self._path.with_name(f"{self.id}{_DAMAGED}{secrets.token_hex(4)}")
        os.rename(self._path, aside)
        self.remove()
        return aside


def abandoned(appliance: Appliance, tell: Tell) -> Iterator[tuple[Journal, Entry]]:
    """Give out the journals whose process has died, each locked for as long as it is looked at.

    :param tell: told of those that make no sense, which are set aside.
    """
    names = (path.name for path in appliance.jobs.iterdir())
    ids = {name.removesuffix(end) for name in names for end in (_SUFFIX, _LOCK) if name.endswith(end)}
    for journal in (Journal(appliance, id) for id in sorted(ids)):
        with journal.held() as held:
            entry = _read(journal, tell) if held else None
            if entry:
                yield journal, entry


def _read(journal: Journal, tell: Tell) -> Entry | None:
    try:
        entry = journal.read()
        if entry is None:
            journal.remove()
        return entry
    except Damaged as damage:
        try:
            tell(f"The journal of {journal.id} makes no sense and is not followed; it is kept as {journal.set_aside()}")
        except OSError as error:
            tell(f"The journal of {journal.id} makes no sense ({damage}) and cannot be set aside: {error.strerror}")
    except OSError as error:
        tell(f"The journal of {journal.id} cannot be removed: {error.strerror}")
    return None

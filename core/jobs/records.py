"""The record of each run of a job: what it is, who started it, how far it is and how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import voluptuous as vol

from jidoteki.core import files
from jidoteki.hookspecs import JobOutcome, JobRecord, paths, strict_json
from jidoteki.hookspecs.free_space import FULL
from jidoteki.hookspecs.jobs import Status

logger = logging.getLogger(__name__)

KEEP = 100
TYPE_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
MAX_SIZE = 256 * 1024
#: What each record takes of the disk from its beginning, so that its end can be written when there is no space.
ROOM = 4096
CUT = "..."
_NAME = re.compile(r"([0-9]{6,9})-([a-z][a-z0-9-]{0,63})\.json")
_NUMBER = re.compile(r"([0-9]{6,9})-.*", re.DOTALL)

#: Names with higher numbers are nobody's: the numbers of runs must not end.
MAX_NUMBER = 900_000_000


def _whole(value: object) -> int:
    if type(value) is not int:
        raise vol.Invalid("must be a whole number")
    return value


_TEXT = vol.All(str, vol.Length(max=64 * 1024))
_TIME = vol.All(vol.Any(int, float), vol.Range(min=0, max=1e11))
_RECORD = vol.Schema(
    {
        vol.Required("id"): str,
        vol.Required("kind"): str,
        vol.Required("status"): vol.In(("running", "success", "failed", "cancelled")),
        "percentage": vol.All(_whole, vol.Range(min=0, max=100)),
        "started": _TIME,
        "ended": vol.Any(_TIME, None),
        "client": _TEXT,
        "user": _TEXT,
        "pid": vol.All(_whole, vol.Range(min=0, max=1 << 22)),
        "boot": _TEXT,
        "error_message": vol.Any(_TEXT, None),
        "error_code": vol.Any(_TEXT, None),
        "persist": bool,
        "stuck": vol.All([_TEXT], vol.Length(max=4)),
    },
    extra=vol.REMOVE_EXTRA,
)

RESERVE = 256 * 1024
"""Bytes of disk space for the start of a job: its record, order, status files and log."""


@dataclass(slots=True)
class Record:
    """One run of a job, as stored in `ADMIN/jobs/ID.json`. Times are seconds since the epoch."""

    id: str
    type: str
    status: Status = "running"
    percentage: int = 0
    started: float = 0.0
    ended: float | None = None
    client: str = ""
    user: str = ""
    pid: int = 0
    boot: str = ""
    """The boot in which `pid` means something."""
    error_message: str | None = None
    error_code: str | None = None
    persist: bool = False
    """Whether it changes what must outlive a reboot."""
    stuck: list[str] = dataclasses.field(default_factory=list)
    """Status files that can be neither written nor removed: what they say is older than the run."""

    def outcome(self) -> JobOutcome:
        """How it ended, for a request handler."""
        return JobOutcome(self.id, self.status, self.error_message, self.error_code)

    def shown(self) -> JobRecord:
        """It, for a request handler."""
        return JobRecord(
            self.id, self.type, self.status, self.percentage, self.started, self.ended, self.client, self.user,
            self.error_message, self.error_code,
        )  # fmt: skip

    def fail(self, message: str, code: str = "E1000") -> None:
        """End it as failed."""
        self.end("failed")
        self.error_message, self.error_code = message, code

    def end(self, status: Status) -> None:
        """End it."""
        self.status, self.ended = status, time.time()


class Records:
    """The records in one directory, the last 100 and the last of each type."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._reserve = directory / "reserve"

    def path(self, id: str) -> Path:
        """The file of a record."""
        return self.directory / f"{id}.json"

    def log(self, id: str) -> Path:
        """The log of that run alone."""
        return self.directory / f"{id}.log"

    def lock(self, job_type: str) -> Path:
        """The file that a running job of this type holds locked."""
        return self.directory / f"{job_type}.lock"

    def ids(self, job_type: str | None = None) -> list[str]:
        """Ids in the order in which the runs started; none where something that is no directory is in the way."""
        found = []
        try:
            names = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        for name in names:
            match = _NAME.fullmatch(name)
            if match and job_type in (None, match[2]):
                found.append((int(match[1]), name.removesuffix(".json")))
        return [id for _, id in sorted(found)]

    def read(self, id: str) -> Record | None:
        """Return a record, or None when it is missing, damaged, or somebody else's."""
        try:
            record = parse(strict_json.loads(paths.read_own(self.path(id), MAX_SIZE)))
        except (OSError, ValueError, RecursionError):
            return None
        return record if record.id == id and id.partition("-")[2] == record.type else None

    def latest(self, job_type: str) -> Record | None:
        """The record of the last run of a type."""
        for id in reversed(self.ids(job_type)):
            if record := self.read(id):
                return record
        return None

    def all(self) -> Iterator[Record]:
        """Every readable record."""
        for id in self.ids():
            if record := self.read(id):
                yield record

    def write(self, record: Record, durable: bool = True) -> None:
        """Store a record."""
        path, content = self.path(record.id), _encode(record, ROOM)
        try:
            files.replace_file(path, content, 0o600, durable)
        except OSError as error:
            if error.errno not in FULL or not path.exists():
                raise
            _overwrite(path, record)

    def new(self, job_type: str, client: str, user: str, persist: bool = False) -> Record:
        """Make the record of a new run; call it while holding the start lock."""
        # Not only records count: nothing that is left of another run may be in this one's way.
        numbers = [int(match[1]) for name in os.listdir(self.directory) if (match := _NUMBER.fullmatch(name))]
        last = max((each for each in numbers if each < MAX_NUMBER), default=0)
        id = f"{last + 1:06d}-{job_type}"
        record = Record(id, job_type, client=client, user=user, started=time.time(), boot=boot_id(), persist=persist)
        try:
            self.write(record)
        except OSError as error:
            if error.errno not in FULL or not self._release_reserve():
                raise
            self.write(record)
        self._forget(self.ids())
        return record

    def keep_reserve(self) -> None:
        """Allocate disk space, unless it is allocated, in which a job can start when the disk is full.

        Some jobs make room: the one that deletes a backup, for example.
        """
        if self._reserve.exists():
            return
        try:
            with open(os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE)
        except OSError:  # there is no room now, or the file system cannot allocate any
            self._release_reserve()

    def _release_reserve(self) -> bool:
        """Free the reserved disk space, and return whether there was any."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def _forget(self, ids: list[str]) -> None:
        latest = {id.partition("-")[2]: id for id in ids}
        for id in ids[:-KEEP]:
            if latest[id.partition("-")[2]] != id:
                for path in (self.path(id), self.log(id)):
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)


def _encode(record: Record, size: int) -> bytes:
    """A record as it is stored, with blanks behind it up to a size."""
    return json.dumps(stored(record)).encode().ljust(size - 1) + b"\n"


def _overwrite(path: Path, record: Record) -> None:
    """Store a record where it is stored already: that takes no space, and it is one block, written at once.

    :raises OSError: it is not there, or its message is too long and cannot be shortened enough.
    """
    with open(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "wb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not paths.is_private(status):
            raise paths.NotTrustedError(path)
        size = status.st_size
        excess = len(_encode(record, 0)) - size
        if excess > 0:
            message = (record.error_message or "")[: -excess - len(CUT)] + CUT
            record = dataclasses.replace(record, error_message=message)
        content = _encode(record, size)
        if len(content) > size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        file.write(content)
        os.fsync(file.fileno())


def is_id(text: str) -> bool:
    """Whether a run may be called so; whatever else comes from a client names no file."""
    return bool(_NAME.fullmatch(f"{text}.json"))


def stored(record: Record) -> dict[str, Any]:
    """Return what `parse` reads; the type of the job is called `kind` there."""
    fields = dataclasses.asdict(record)
    return {"id": fields.pop("id"), "kind": fields.pop("type"), **fields}


def parse(value: object) -> Record:
    """Return the record that a JSON value describes; keys that it does not know mean nothing.

    :raises ValueError: it does not describe one.
    """
    try:
        fields = _RECORD(value)
        return Record(type=fields.pop("kind"), **fields)
    except vol.Invalid as error:
        raise ValueError(str(error)) from error


def boot_id() -> str:
    """The kernel's name for this boot."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""

"""The record of each run of a job: type, user, progress and outcome."""

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
from jidoteki.core.files.reserve import Reserve
from jidoteki.hookspecs import JobOutcome, JobRecord, paths, strict_json, trials
from jidoteki.hookspecs.boots import boot_id
from jidoteki.hookspecs.free_space import FULL
from jidoteki.hookspecs.jobs import Status

logger = logging.getLogger(__name__)

KEEP = 100
TYPE_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
MAX_SIZE = 256 * 1024
#: The initial size of each record, so that its outcome can be written to a full disk.
ROOM = 4096
CUT = "..."
_ID = re.compile(r"([0-9]{6,9})-([a-z][a-z0-9-]{0,63})")
_NUMBER = re.compile(r"([0-9]{6,9})-.*", re.DOTALL)

#: Higher numbers are ignored, so that the numbers of runs cannot be exhausted.
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
        "confirm": vol.All(_whole, vol.Range(min=0, max=trials.MAX_SECONDS)),
        "unrecovered": bool,
        "restarting": vol.Any(_TEXT, None),
        "stuck": vol.All([_TEXT], vol.Length(max=4)),
    },
    extra=vol.REMOVE_EXTRA,
)


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
    """The boot in which `pid` is valid."""
    error_message: str | None = None
    error_code: str | None = None
    persist: bool = False
    """Whether it makes changes that must survive a reboot."""
    confirm: int = 0
    """Seconds within which its change must be confirmed; 0 if that is final at once."""
    unrecovered: bool = False
    """Whether the job type\'s `recover` raised after the run had died, and must be called again."""
    restarting: str | None = None
    """A sentence, while it waits for the system to restart."""
    stuck: list[str] = dataclasses.field(default_factory=list)
    """Status files that can be neither written nor removed: their content is older than the run."""

    def outcome(self) -> JobOutcome:
        """Return the outcome, for a request handler."""
        return JobOutcome(self.id, self.status, self.error_message, self.error_code)

    def shown(self) -> JobRecord:
        """Return the record for a request handler."""
        return JobRecord(
            self.id, self.type, self.status, self.percentage, self.started, self.ended, self.client, self.user,
            self.error_message, self.error_code, restarting=self.restarting,
        )  # fmt: skip

    def fail(self, message: str, code: str = "E1000") -> None:
        """End the run as failed."""
        self.end("failed")
        self.error_message, self.error_code = message, code

    def end(self, status: Status) -> None:
        """End the run."""
        self.status, self.ended, self.restarting = status, time.time(), None


class Records:
    """The records in one directory: the last 100, and the last of each job type."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reserve = Reserve(directory / "reserve")

    def path(self, id: str) -> Path:
        """Return the path of a record."""
        return self.directory / f"{id}.json"

    def log(self, id: str) -> Path:
        """Return the path of a run's log."""
        return self.directory / f"{id}.log"

    def lock(self, job_type: str) -> Path:
        """Return the path of the lock file of a job type."""
        return self.directory / f"{job_type}.lock"

    def _mark(self, id: str) -> Path:
        """Is there until the end of the run is told."""
        return self.directory / f"{id}.untold"

    def ids(self, job_type: str | None = None, suffix: str = "json") -> list[str]:
        """Return the ids in the order in which the runs started; none if the directory is missing or is a file."""
        found = []
        try:
            names = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        for name in names:
            id, _, ending = name.partition(".")
            match = _ID.fullmatch(id) if ending == suffix else None
            if match and job_type in (None, match[2]):
                found.append((int(match[1]), id))
        return [id for _, id in sorted(found)]

    def untold(self) -> list[str]:
        """The runs whose end is still to be told, in the order in which they started."""
        return self.ids(suffix="untold")

    def mark_untold(self, id: str) -> None:
        """Note that the end of a run is to be told."""
        with contextlib.suppress(OSError):  # without it, the end is not told by another service
            self._mark(id).touch(0o600)

    def note_told(self, id: str) -> bool:
        """Note that the end of a run is told; return False where that is impossible, and `untold` has it still."""
        try:
            self._mark(id).unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def read(self, id: str) -> Record | None:
        """Return a record, or None if it is missing, damaged, or another user's."""
        try:
            record = parse(strict_json.loads(paths.read_own(self.path(id), MAX_SIZE)))
        except (OSError, ValueError, RecursionError):
            return None
        return record if record.id == id and id.partition("-")[2] == record.type else None

    def latest(self, job_type: str) -> Record | None:
        """Return the record of the last run of a job type, or None."""
        for id in reversed(self.ids(job_type)):
            if record := self.read(id):
                return record
        return None

    def all(self) -> Iterator[Record]:
        """Yield every readable record."""
        for id in self.ids():
            if record := self.read(id):
                yield record

    def write(self, record: Record, durable: bool = True) -> None:
        path, content = self.path(record.id), _encode(record, ROOM)
        try:
            files.replace_file(path, content, 0o600, durable)
        except OSError as error:
            if error.errno not in FULL or not path.exists():
                raise
            _overwrite(path, record)

    def new(self, job_type: str, client: str, user: str, persist: bool = False, confirm: int = 0) -> Record:
        """Create the record of a new run; call it while holding the start lock."""
        # Leftovers without a record count, too, so that none is taken for a file of this run.
        numbers = [int(match[1]) for name in os.listdir(self.directory) if (match := _NUMBER.fullmatch(name))]
        last = max((each for each in numbers if each < MAX_NUMBER), default=0)
        id = f"{last + 1:06d}-{job_type}"
        record = Record(
            id,
            job_type,
            client=client,
            user=user,
            started=time.time(),
            boot=boot_id(),
            persist=persist,
            confirm=confirm,
        )
        self.write(record)
        self.mark_untold(id)
        self._remove_old(self.ids())
        return record

    def _remove_old(self, ids: list[str]) -> None:
        latest = {id.partition("-")[2]: id for id in ids}
        for id in ids[:-KEEP]:
            if latest[id.partition("-")[2]] != id:
                for path in (self.path(id), self.log(id), self._mark(id)):
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)


def _encode(record: Record, size: int) -> bytes:
    """Return a record as JSON, padded with blanks to a size."""
    return json.dumps(stored(record)).encode().ljust(size - 1) + b"\n"


def _overwrite(path: Path, record: Record) -> None:
    """Overwrite a record in place, which takes no space, and is atomic as it is one block.

    :raises OSError: the file does not exist, or its message cannot be shortened enough.
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
    """Return whether a text is a valid id of a run; other texts from a client never become file names."""
    return bool(_ID.fullmatch(text))


def stored(record: Record) -> dict[str, Any]:
    """Return what `parse` reads; the type of the job is called `kind` there."""
    fields = dataclasses.asdict(record)
    return {"id": fields.pop("id"), "kind": fields.pop("type"), **fields}


def parse(value: object) -> Record:
    """Return the record in a JSON value; unknown keys are ignored.

    :raises ValueError: it is not a record.
    """
    try:
        fields = _RECORD(value)
        return Record(type=fields.pop("kind"), **fields)
    except vol.Invalid as error:
        raise ValueError(str(error)) from error

"""The record of each run of a job: what it is, who started it, how far it is and how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jidoteki.core import files
from jidoteki.hookspecs import JobOutcome, JobType
from jidoteki.hookspecs.jobs import Status

KEEP = 100
KIND = re.compile(r"[a-z][a-z0-9-]{0,63}")
_NAME = re.compile(r"(\d{6,})-([a-z][a-z0-9-]{0,63})\.json")

INTERRUPTED = "The job ended unexpectedly: it was killed, or the power failed"


@dataclass(slots=True)
class Record:
    """One run of a job, as stored in `ADMIN/jobs/ID.json`. Times are seconds since the epoch."""

    id: str
    kind: str
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

    def outcome(self) -> JobOutcome:
        """How it ended, for a request handler."""
        return JobOutcome(self.id, self.status, self.error_message, self.error_code)

    def fail(self, message: str, code: str = "E1000") -> None:
        """End it as failed."""
        self.end("failed")
        self.error_message, self.error_code = message, code

    def end(self, status: Status) -> None:
        """End it."""
        self.status, self.ended = status, time.time()


class Records:
    """The records in one directory, the last 100 and the last of each kind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, id: str) -> Path:
        """The file of a record."""
        return self.directory / f"{id}.json"

    def log(self, id: str) -> Path:
        """The log of that run alone."""
        return self.directory / f"{id}.log"

    def ids(self, kind: str | None = None) -> list[str]:
        """Ids in the order in which the runs started."""
        found = []
        for path in self.directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and kind in (None, match[2]):
                found.append((int(match[1]), path.stem))
        return [id for _, id in sorted(found)]

    def read(self, id: str) -> Record | None:
        """Return a record, or None when it is missing or damaged."""
        try:
            return Record(**json.loads(self.path(id).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def latest(self, kind: str) -> Record | None:
        """The record of the last run of a kind."""
        for id in reversed(self.ids(kind)):
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
        content = json.dumps(dataclasses.asdict(record)).encode()
        files.replace_file(self.path(record.id), content, 0o600, durable)

    def new(self, kind: str, client: str, user: str) -> Record:
        """Make the record of a new run; call it while holding the start lock."""
        ids = self.ids()
        number = int(ids[-1].partition("-")[0]) + 1 if ids else 1
        record = Record(f"{number:06d}-{kind}", kind, client=client, user=user, started=time.time(), boot=boot_id())
        self.write(record)
        self._forget(ids)
        return record

    def _forget(self, ids: list[str]) -> None:
        latest = {id.partition("-")[2]: id for id in ids}
        for id in ids[: -(KEEP - 1)]:
            if latest[id.partition("-")[2]] != id:
                self.path(id).unlink(missing_ok=True)
                self.log(id).unlink(missing_ok=True)


def boot_id() -> str:
    """The kernel's name for this boot."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def write_status_files(etc: Path, job: JobType, record: Record, durable: bool = True) -> None:
    """Write the files that other tools read for this kind of job."""
    names = job.status_files
    content: list[tuple[str | None, Any]] = [
        (names.progress, json.dumps({"status": record.status, "percentage": record.percentage})),
        (names.status, record.status),
        (names.error_message, record.error_message),
        (names.error_code, record.error_code),
    ]
    for name, text in content:
        if name and text is None:
            (etc / name).unlink(missing_ok=True)
        elif name:
            files.replace_file(etc / name, f"{text}\n".encode(), 0o644, durable)

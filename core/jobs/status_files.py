"""The status files of jobs in `ADMIN/etc`, which other tools read, and write when they do such a job themselves.

Whoever wrote last is shown. What the service wrote last is known from the record of its last run, so that it takes no
clock to tell: a file that says anything else was written by somebody else afterwards.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jidoteki.core import files
from jidoteki.core.jobs.exit_reasons import INTERRUPTED
from jidoteki.core.jobs.records import Record, Records
from jidoteki.hookspecs import JobType, StatusFiles, paths, strict_json

logger = logging.getLogger(__name__)

MAX_SIZE = 64 * 1024
ERRORS = ("error-message", "error-code")
#: More than any tool needs, and less than what is too deep to be answered.
MAX_BRACKETS = 100
MAX_LINE = 200
#: What no other tool says in the place of a run of the service that still goes on.
ENDED = ("success", "failed", "cancelled", None)


def write(etc: Path, job: JobType, record: Record, *, durable: bool = True, begin: bool = False) -> None:
    """Write the files for this job type, and note in the record which cannot be; the record is to be stored then.

    What a script of the job itself wrote to the error files stays where the service has nothing to say there.

    :param begin: whether the run begins, and what is left of another one goes.
    """
    record.stuck = []
    for name, text in _contents(job, record).items():
        try:
            if text is not None:
                files.replace_file(etc / name, text.encode("utf-8", "backslashreplace"), 0o644, durable)
            elif begin:
                (etc / name).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s cannot be written: %s", name, error.strerror or error)
            try:
                (etc / name).unlink(missing_ok=True)  # rather none than one that would be taken for another tool's
            except OSError:
                record.stuck.append(name)


def save(etc: Path, job: JobType | None, record: Record, records: Records, *, durable: bool = True) -> None:
    """Write the status files of a run, then its record: until that says how it ended, they are written anew.

    :param job: its job type; None for one that nothing here has any more, whose files are not known.
    """
    if job:
        write(etc, job, record, durable=durable)
    records.write(record, durable)


def _contents(job: JobType, record: Record) -> dict[str, str | None]:
    """What belongs into each file, as the original writes it; None where there should be none."""
    names = job.status_files
    progress = json.dumps({"status": record.status, "percentage": record.percentage}, separators=(",", ":"))
    contents = {
        names.progress: progress,
        names.status: record.status,
        names.error_message: record.error_message,
        names.error_code: record.error_code,
    }
    return {name: None if text is None else f"{text}\n" for name, text in contents.items() if name}


def shown(etc: Path, job: JobType, record: Record | None, is_running: Callable[[], bool]) -> dict[str, Any]:
    """Return what is to be shown of this job type: `{"status": …}` and what else is known.

    :param record: the last run of the service, if there was one.
    :param is_running: asked whether a run of the service still goes on.
    """
    own = None if record is None else {"status": record.status, "percentage": record.percentage}
    names = _readable(job.status_files, record.stuck if record else [])
    told, path = _told(etc, names, own)
    if record is not None and record.status == "running" and told.get("status") in ENDED:
        told = own or told
    status: dict[str, Any] = {"status": None, **told}
    another = status["status"] == "running" and (record is None or record.status != "running")
    if another and _is_stale(path, job.timeout) and not is_running():
        return interrupted(status)
    return {**status, **_errors(etc, names, record, status["status"])}


def percentage(etc: Path, job: JobType, record: Record) -> int:
    """How far a run is that goes on: what a script of its own says in the file, if it does, else the job itself."""
    told = shown(etc, job, record, lambda: True).get("percentage")
    if isinstance(told, str) and told.isascii() and told.isdecimal() and len(told) <= 3:
        told = int(told)
    if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told <= 100:
        return int(told)
    return record.percentage


def _readable(names: StatusFiles, stuck: list[str]) -> StatusFiles:
    return StatusFiles(*(None if name in stuck else name for name in dataclasses.astuple(names)))


def interrupted(status: dict[str, Any], reason: str = INTERRUPTED) -> dict[str, Any]:
    """Return the status of a run that is dead in place of what it said last."""
    return {**status, "status": "failed"} | dict(zip(ERRORS, (reason, "E1000"), strict=True))


def _told(etc: Path, names: StatusFiles, own: dict[str, Any] | None) -> tuple[dict[str, Any], Path]:
    """What somebody else says in the files, or else the service itself; and the file that says it."""
    progress = _document(etc / names.progress) if names.progress else None
    if names.progress and progress is not None and progress != own:
        return progress, etc / names.progress
    line = _line(etc / names.status) if names.status else None
    if names.status and line is not None and (own is None or line != own["status"]):
        return {**(progress or own or {}), "status": line}, etc / names.status
    return own or {}, etc


def _errors(etc: Path, names: StatusFiles, record: Record | None, status: object) -> dict[str, str]:
    """What somebody else says in the files of errors; what the service says only where the status is that it failed."""
    says = (record.error_message, record.error_code) if record else (None, None)
    errors: dict[str, str] = {}
    for key, name, own in zip(ERRORS, (names.error_message, names.error_code), says, strict=True):
        text = _text(etc / name) if name else None
        if text and text.strip() and text != f"{own}\n":
            errors[key] = _first(text)
        elif status == "failed" and own is not None:
            errors[key] = own
    return errors


def _document(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, if it says what the status is."""
    text = _text(path)
    if text is None or text.count("[") + text.count("{") > MAX_BRACKETS:
        return None
    try:
        document = strict_json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or "status" not in document:
        return None
    status = document["status"]
    return document if status is None or (isinstance(status, str) and status) else None


def _line(path: Path) -> str | None:
    text = _text(path)
    return (_first(text) or None) if text else None


def _first(text: str) -> str:
    return text.strip().partition("\n")[0][:MAX_LINE]


def _text(path: Path) -> str | None:
    """The content of a file that others may have put there: no link, no pipe, nothing endless."""
    try:
        return paths.read_regular(path, MAX_SIZE).decode("utf-8", "replace")
    except OSError:
        return None


def _is_stale(path: Path, limit: float) -> bool:
    """Whether a file was written before this boot, or longer ago than a run may take: its writer is gone."""
    try:
        written = path.lstat().st_ctime  # unlike the time of modification nobody can set it
    except OSError:
        return True
    return time.time() - written > min(limit, time.clock_gettime(time.CLOCK_BOOTTIME))

"""The status files of jobs in `ADMIN/etc`, which other tools read, and write when they run such a job themselves.

The last writer's status is shown. The record of the service's last run contains what the service wrote last, so no
clock is needed: a file with other content was written by another tool afterwards.
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
#: More than any tool needs, and less than the depth that JSON encoding allows.
MAX_BRACKETS = 100
MAX_LINE = 200
#: Statuses that another tool cannot set while a run of the service is going on.
ENDED = ("success", "failed", "cancelled", None)


def write(etc: Path, job: JobType, record: Record, *, durable: bool = True, begin: bool = False) -> None:
    """Write the status files of a job type; the record, which must be saved next, lists those that fail.

    Error files that a script of the job wrote are kept unless the service has an error itself.

    :param begin: whether the run starts, so that files of earlier runs are removed.
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
                (etc / name).unlink(missing_ok=True)  # rather none than one that is taken for another tool's
            except OSError:
                record.stuck.append(name)


def save(etc: Path, job: JobType | None, record: Record, records: Records, *, durable: bool = True) -> None:
    """Write the status files of a run, then its record: files of a run without a recorded outcome are written again.

    :param job: the job type; None if no plugin has it any more, so that its files are unknown.
    """
    if job:
        write(etc, job, record, durable=durable)
    records.write(record, durable)


def _contents(job: JobType, record: Record) -> dict[str, str | None]:
    """Return the content of each file in the original's format; None for a file that should not exist."""
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
    """Return the status of a job type: `{"status": …}` and further known keys.

    :param record: the service's last run, if any.
    :param is_running: returns whether a run of the service is going on.
    """
    own = None if record is None else {"status": record.status, "percentage": record.percentage}
    names = _readable(job.status_files, record.stuck if record else [])
    told, path = _reported(etc, names, own)
    if record is not None and record.status == "running" and told.get("status") in ENDED:
        told = own or told
    status: dict[str, Any] = {"status": None, **told}
    another = status["status"] == "running" and (record is None or record.status != "running")
    if another and _is_stale(path, job.timeout) and not is_running():
        return _interrupted(status)
    return {**status, **_errors(etc, names, record, status["status"])}


def percentage(etc: Path, job: JobType, record: Record) -> int:
    """Return the progress of a running job: the percentage in the file, if a script wrote one, or the job's own."""
    told = shown(etc, job, record, lambda: True).get("percentage")
    if isinstance(told, str) and told.isascii() and told.isdecimal() and len(told) <= 3:
        told = int(told)
    if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told <= 100:
        return int(told)
    return record.percentage


def _readable(names: StatusFiles, stuck: list[str]) -> StatusFiles:
    return StatusFiles(*(None if name in stuck else name for name in dataclasses.astuple(names)))


def ended(record: Record) -> dict[str, Any]:
    """Return the status of a run that has ended, whatever its files say."""
    errors = zip(ERRORS, (record.error_message, record.error_code), strict=True)
    told = {"status": record.status, "percentage": record.percentage}
    return told | {key: value for key, value in errors if value is not None}


def _interrupted(status: dict[str, Any]) -> dict[str, Any]:
    """Return the status of another tool's dead run, based on its last one."""
    return {**status, "status": "failed"} | dict(zip(ERRORS, (INTERRUPTED, "E1000"), strict=True))


def _reported(etc: Path, names: StatusFiles, own: dict[str, Any] | None) -> tuple[dict[str, Any], Path]:
    """Return the status that another tool wrote, or else the service's; and the file that contains it."""
    progress = _document(etc / names.progress) if names.progress else None
    if names.progress and progress is not None and progress != own:
        return progress, etc / names.progress
    line = _line(etc / names.status) if names.status else None
    if names.status and line is not None and (own is None or line != own["status"]):
        return {**(progress or own or {}), "status": line}, etc / names.status
    return own or {}, etc


def _errors(etc: Path, names: StatusFiles, record: Record | None, status: object) -> dict[str, str]:
    """Return the errors that another tool wrote; those of the service only if the run failed."""
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
    """Return the JSON object in a file, if it contains a status."""
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
    """Return the content of a file that another user may have written, so it is opened with care."""
    try:
        return paths.read_regular(path, MAX_SIZE).decode("utf-8", "replace")
    except OSError:
        return None


def _is_stale(path: Path, limit: float) -> bool:
    """Return whether a file is older than this boot or the longest possible run, so that its writer has ended."""
    try:
        written = path.lstat().st_ctime  # unlike mtime it cannot be set
    except OSError:
        return True
    return time.time() - written > min(limit, time.clock_gettime(time.CLOCK_BOOTTIME))

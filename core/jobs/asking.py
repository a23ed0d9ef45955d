"""Processes of jobs that only answer: to a dry run, and how what a dead run left was put right. All functions block."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jidoteki.core.jobs import exit_reasons
from jidoteki.core.jobs.records import Record

if TYPE_CHECKING:
    from jidoteki.core.jobs.launch import Launcher

logger = logging.getLogger(__name__)


def check(launcher: Launcher, job_type: str, input: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Run the job's check of an input in a process, without changing anything.

    :return: `{"status", "error_message"?, "error_code"?, "preview"?}`.
    :raises TimeoutError: the check timed out.
    """
    record = Record(f"dry-run-{os.urandom(8).hex()}", job_type)
    try:
        said, status = _ask(launcher, record, input, timeout, dry_run=True)
    except TimeoutError as error:
        raise TimeoutError("The check did not end in time") from error
    if said is None:
        message = f"The check ended unexpectedly: its process {exit_reasons.described(status)}"
        logger.error("The job %s: %s", job_type, message)
        return {"status": "failed", "error_message": message, "error_code": "E1000"}
    if details := said.pop("details", None):
        logger.error("The check of %s failed:\n%s", job_type, details)
    return said


def recover(launcher: Launcher, record: Record, timeout: float) -> dict[str, Any]:
    """Have the job's `recover` called in a process that has the rights of the dead one.

    :return: `{"said"?}`, or `{"failed"}` with the reason.
    """
    launcher.clear(record.id)
    try:
        said, status = _ask(launcher, record, {}, timeout, recovering=True)
    except OSError as error:
        return {"failed": str(error)}
    return {"failed": f"Its process {exit_reasons.described(status)}"} if said is None else said


def _ask(
    launcher: Launcher,
    record: Record,
    input: Mapping[str, Any],
    timeout: float,
    *,
    dry_run: bool = False,
    recovering: bool = False,
) -> tuple[dict[str, Any] | None, int]:
    """Run a process that prints a JSON object; return that, None if it printed none, and the exit status.

    :raises TimeoutError: it timed out.
    """
    try:
        with open(os.devnull, "rb") as null:
            process = launcher.process(
                record,
                input,
                null.fileno(),
                subprocess.PIPE,
                subprocess.DEVNULL,
                dry_run=dry_run,
                recovering=recovering,
            )
        try:
            outcome = process.communicate(timeout)
        finally:
            process.kill()
            process.wait()
    finally:
        launcher.clear(record.id)  # also where root refuses to run it
    try:
        return dict(json.loads(outcome)), 0
    except (ValueError, TypeError):
        return None, process.poll() or 0

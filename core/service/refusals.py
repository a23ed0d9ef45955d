"""Refusals because of a running job: nothing was done, and the request may be repeated."""

from __future__ import annotations

from typing import Final

from jidoteki.hookspecs import ApiError, JobType

BUSY: Final = "E1004"
"""Tells a script to wait and try again: the original's code for a running update."""


class RetryLaterError(ApiError):
    """A refusal because a conflicting job is running: nothing was done, and the request may be repeated."""


def refusal(job: JobType, running: str) -> RetryLaterError:
    """Return the error for a job that cannot start while `running` runs."""
    name = job.name.replace("-", " ").capitalize()
    code = job.busy_code or BUSY
    if running == job.name:
        return RetryLaterError(400, f"{name} is already running", code)
    return RetryLaterError(400, f"{name} cannot start while {running.replace('-', ' ')} is running", code)

"""The last lines of the logs of jobs, by which other tools tell how a job ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from jidoteki.hookspecs.jobs import Job, JobFailed


@contextlib.contextmanager
def failure_logged(job: Job, last_line: str) -> Iterator[None]:
    """Add to the job's log why it failed, and after it the line that is the last of every failure.

    A log that cannot be written leaves the failure what it is.

    :param last_line: such as `Invalid or missing settings file`.
    """
    try:
        yield
    except JobFailed as failure:
        with contextlib.suppress(OSError):
            job.log(failure.message)
            job.log(last_line)
        raise

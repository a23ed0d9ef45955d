"""The last lines of job logs, from which other tools read a job's outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from jidoteki.hookspecs.jobs import Job, JobError


@contextlib.contextmanager
def failure_logged(job: Job, last_line: str) -> Iterator[None]:
    """Log why the job failed, followed by the line that ends the log of every failure.

    An error in writing the log is ignored.

    :param last_line: such as `Invalid or missing settings file`.
    """
    try:
        yield
    except JobError as failure:
        with contextlib.suppress(OSError):
            job.log(failure.message)
            job.log(last_line)
        raise

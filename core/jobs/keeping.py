"""Having root keep through a reboot what jobs and endpoints changed that have no right to do so themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from jidoteki.core.files import leftovers
from jidoteki.core.jobs import persisting
from jidoteki.core.jobs.launch import BusyError
from jidoteki.core.jobs.records import Record

#: How often, and each how many seconds, the turn of the job that keeps data is awaited.
TRIES: Final = 6000
PAUSE: Final = 0.1

logger = logging.getLogger(__name__)


class Started(Protocol):
    """A job that was started."""

    @property
    def ended(self) -> asyncio.Future[Record]:
        """Its record, once it has ended."""


Start = Callable[[str, Mapping[str, Any], str, str], Awaitable[Started]]


async def keep(start: Start, client: str, user: str) -> str | None:
    """Run the job by which root keeps data, after one that runs and may have missed the change.

    :param start: starts a job, given its type, input, client and user.
    :return: why the change is not kept; None if it is.
    :raises BusyError: the system goes down.
    """
    for _ in range(TRIES):
        try:
            record = await asyncio.shield((await start(persisting.JOB_TYPE, {}, client, user)).ended)
            return None if record.status == "success" else record.error_message or persisting.NOT_KEPT
        except BusyError as busy:
            if busy.job_type != persisting.JOB_TYPE:
                raise
        except OSError as error:
            return f"{persisting.NOT_KEPT}: {leftovers.reason(error)}"
        await asyncio.sleep(PAUSE)
    return f"{persisting.NOT_KEPT}: {persisting.JOB_TYPE} does not end"


async def keep_of(start: Start, record: Record) -> str | None:
    """Keep what a run changed, and log why that failed; otherwise as `keep`."""
    try:
        problem = await keep(start, record.client, record.user)
    except BusyError:
        return None  # a reboot, which keeps all that runs before it changed
    if problem:
        logger.error("%s: %s", record.id, problem)
    return problem

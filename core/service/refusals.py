"""Refusals of what cannot be done with a job now: nothing was done, and the request may be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jidoteki.core.jobs.launch import BusyError
from jidoteki.hookspecs import ApiError, JobType, trials

if TYPE_CHECKING:
    from jidoteki.core.service.service import Service

BUSY: Final = "E1004"
"""Tells a script to wait and try again: the original's code for a running update."""


class RetryLaterError(ApiError):
    """A refusal because of what runs, or does not run yet: nothing was done, and the request may be repeated."""


@asynccontextmanager
async def refusing(service: Service, job: JobType, done: str) -> AsyncIterator[None]:
    """Refuse the request where the job cannot be `done`, such as started, as the block finds."""
    try:
        yield
    except BusyError as busy:
        raise await refusal(service, job, busy.job_type) from busy
    except OSError as error:
        file = f" ({Path(error.filename).name})" if isinstance(error.filename, str) else ""
        raise ApiError(400, f"The {job.name} job cannot be {done}: {error.strerror or error}{file}") from error


async def refusal(service: Service, job: JobType, running: str) -> RetryLaterError:
    """Return the error for a job that cannot start while `running` runs, and say what ends that if it waits."""
    name = job.name.replace("-", " ").capitalize()
    code = job.busy_code or BUSY
    waits = await _waits(service, running)
    if running == job.name:
        return RetryLaterError(400, f"{name} is already running{waits}", code)
    return RetryLaterError(400, f"{name} cannot start while {running.replace('-', ' ')} is running{waits}", code)


async def _waits(service: Service, running: str) -> str:
    """Return what a running job waits for, if that is the confirmation of its change."""
    trial = await asyncio.to_thread(trials.find, service.appliance.jobs, running)
    if trial is None or not trial.is_waiting:
        return ""
    begins = (each for each in service.generation.routes.all() if each.endpoint.starts == running)
    path = next((each.path for each in begins if each.endpoint.confirm is not None), None)
    final = f": POST {path}/confirm makes it final" if path else ""
    return f"; its change waits {trial.seconds_left} seconds more for a confirmation, and is put back then{final}"

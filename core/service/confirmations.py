"""The confirmation of a change on trial, which makes it final."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.service.refusals import BUSY, RetryLaterError
from jidoteki.hookspecs import ApiError, Trial, trials

if TYPE_CHECKING:
    from jidoteki.core.service.requests import ApiRequest

NOTHING_WAITS: Final = "Nothing waits for a confirmation"
NOT_YET: Final = "The change is still being made: confirm it once that is complete"
#: Seconds that the answer waits for the end of the job, so that the next one can start.
END_TIMEOUT: Final = 5.0


async def confirm(request: ApiRequest, job_type: str) -> None:
    """Confirm the change of the running job of a type.

    :raises ApiError: 400, none waits for that; 403, the credential was revoked meanwhile.
    """
    trial, launcher = await request.trial(job_type), request.service.jobs.launcher
    if trial and not await asyncio.to_thread(_can_end, launcher, trial):
        raise await _nothing_waits(launcher, job_type)
    if trial is None and not await asyncio.to_thread(_begins, launcher, job_type):
        raise await _nothing_waits(launcher, job_type)
    if trial is None or not trial.is_waiting:
        raise RetryLaterError(400, NOT_YET, BUSY)
    if request.dry_run:
        return
    try:
        await asyncio.to_thread(request.permit)
        decided = await asyncio.to_thread(trials.decide, request.appliance.jobs, trial.id, "confirmed")
    except OSError as error:
        raise ApiError(400, f"The confirmation cannot be recorded: {error.strerror or error}") from error
    if not decided:
        raise await _nothing_waits(launcher, job_type)
    request.started(trial.id)
    await request.service.jobs.await_end(job_type, trial.id, END_TIMEOUT)


async def _nothing_waits(launcher: Launcher, job_type: str) -> RetryLaterError:
    """Return the error, which says what became of the last change on trial: the first answer may have been lost."""
    last = await asyncio.to_thread(launcher.records.latest, job_type)
    if last is None or not last.confirm or last.status == "running":
        return RetryLaterError(400, NOTHING_WAITS)
    became = {"E2001": "was put back", None: "is final"}.get(last.error_code, "failed")
    return RetryLaterError(400, f"{NOTHING_WAITS}: the last change, {last.id}, {became}")


def _can_end(launcher: Launcher, trial: Trial) -> bool:
    """Return whether a change can still become final: its run is known, and there is time left."""
    record = launcher.records.read(trial.id)
    in_time = not trial.is_waiting or trials.now() < trial.deadline
    return record is not None and record.status == "running" and in_time


def _begins(launcher: Launcher, job_type: str) -> bool:
    """Return whether a run has started whose change must be confirmed, and has not begun that yet."""
    record = launcher.records.latest(job_type)
    if record is None or not record.confirm or record.status != "running":
        return False
    return trials.state(launcher.appliance.jobs, record.id) in (None, "trial") and launcher.is_running(job_type)

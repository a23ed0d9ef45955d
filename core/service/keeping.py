"""Endpoints whose changes must survive a reboot: none once the system goes down, and `persist` after each."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Final

from jidoteki.core.auth.credentials import ADMIN
from jidoteki.core.jobs import changes, persisting
from jidoteki.core.service.refusals import BUSY, RetryLaterError
from jidoteki.core.service.requests import ApiRequest
from jidoteki.hookspecs import ApiError, Response

logger = logging.getLogger(__name__)

GOING_DOWN: Final = "This cannot be done while reboot is running"
NOT_KEPT: Final = "The change is in force, but not kept through a reboot"
TRIES: Final = 50


async def check(request: ApiRequest) -> None:
    """Refuse a change that would be lost.

    :raises ApiError: 400 with E1004, the system reboots.
    """
    if await asyncio.to_thread(changes.are_over, request.appliance.jobs):
        raise RetryLaterError(400, GOING_DOWN, BUSY)


async def keep(request: ApiRequest, response: Response) -> Response:
    """Run the persist command; return the response, with a warning if that failed."""
    if not await asyncio.to_thread(persisting.commands, request.host_config, request.appliance):
        return response
    problem = await _persist(request)
    if problem is None:
        return response
    logger.error("%s", problem)
    if not isinstance(response, dict):
        return response
    return {**response, "warnings": [*response.get("warnings", ()), problem]}


async def _persist(request: ApiRequest) -> str | None:
    """Run the job, again if one was running, which may have missed the change; return what keeps it from success.

    It runs with the credential as it is after the change.
    """
    authenticator = request.service.generation.authenticator
    problem: str | None = "the credential is gone"
    try:
        holder = await asyncio.to_thread(authenticator.holder_on_disk, request.user)
        holder = holder or await asyncio.to_thread(authenticator.holder_on_disk, ADMIN.name)
    except OSError as error:
        return f"{NOT_KEPT}: {error.strerror or error}"
    if holder is None:
        return f"{NOT_KEPT}: {problem}"
    follow_up = dataclasses.replace(request, holder=holder)
    for _ in range(TRIES):
        try:
            outcome = await follow_up.run_job(persisting.JOB_TYPE)
            return None if outcome.status == "success" else outcome.error_message
        except ApiError as error:
            problem = error.message
        await asyncio.sleep(0.1)
    return f"{NOT_KEPT}: {problem}"

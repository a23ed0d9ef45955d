"""Endpoints whose changes must survive a reboot: none once the system goes down, and `persist` after each."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from jidoteki.core.jobs import changes, persisting
from jidoteki.core.jobs.launch import BusyError
from jidoteki.core.service.refusals import BUSY, RetryLaterError
from jidoteki.core.service.requests import ApiRequest
from jidoteki.hookspecs import Response

logger = logging.getLogger(__name__)

GOING_DOWN: Final = "This cannot be done while reboot is running"


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
    try:
        problem = await request.service.jobs.keep(request.client, request.user)
    except BusyError:
        problem = f"{persisting.NOT_KEPT}: {GOING_DOWN}"
    if problem is None:
        return response
    logger.error("%s", problem)
    if not isinstance(response, dict):
        return response
    return {**response, "warnings": [*response.get("warnings", ()), problem]}

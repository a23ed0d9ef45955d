"""`POST /setup`: the first token, and every change of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import time

import voluptuous as vol

from jidoteki.core.auth.credentials import ADMIN, MAX_TOKEN, TOKEN_CHARACTERS
from jidoteki.core.jobs import persisting
from jidoteki.core.jobs.logs import open_log
from jidoteki.core.service.requests import ApiRequest, own
from jidoteki.hookspecs import (
    DONE,
    PREFIX,
    ApiError,
    Appliance,
    Described,
    Endpoint,
    Request,
    Response,
    hookimpl,
    validators,
)

TRIES = 50
LOG = "update_token.log"

logger = logging.getLogger(__name__)


@validators.described(
    {
        "type": "string",
        "pattern": f"^[!-~]{{1,{MAX_TOKEN}}}$",
        "minLength": 1,
        "maxLength": MAX_TOKEN,
        "writeOnly": True,
        "description": f"1 to {MAX_TOKEN} printable ASCII characters (codes 33 to 126), no spaces",
        "examples": ["yourtoken"],
    }
)
def new_token(value: str) -> str:
    """Accept 1 to 255 printable ASCII characters, no space."""
    if not 1 <= len(value) <= MAX_TOKEN or not TOKEN_CHARACTERS.issuperset(map(ord, value)):
        raise vol.Invalid(f"must be 1 to {MAX_TOKEN} printable ASCII characters without spaces (codes 33 to 126)")
    return value


async def setup(request: Request) -> Response:
    """Put the new token into force; it is on disk when this answers."""
    mine = own(request)
    if not request.dry_run:
        try:
            await asyncio.to_thread(_set_token, mine, request.values["newtoken"])
        except OSError as error:
            raise ApiError(400, f"The token cannot be stored: {error.strerror or error}") from error
        if await asyncio.to_thread(persisting.commands, mine.host_config, mine.service.appliance):
            await _persist(mine)
    return {"Status": "200 OK"}


def _set_token(request: ApiRequest, token: str) -> None:
    _tell(request.appliance, "Updating API token. Please wait..")
    try:
        request.service.generation.authenticator.set_token(token, request.holder)
    except OSError as error:
        _tell(request.appliance, f"The token cannot be stored: {error.strerror or error}")
        _tell(request.appliance, "Invalid or missing API token file")
        raise
    _tell(request.appliance, "Updating API token successful")


def _tell(appliance: Appliance, message: str) -> None:
    """Add a line to the log, which begins anew when it is long; no token depends on whether it can be written."""
    path = appliance.log / LOG
    try:
        descriptor = open_log(path, 0o640, appliance.group)
        try:
            os.write(descriptor, f"[{int(time.time())}][SYSTEM] {message}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        logger.warning("%s cannot be written: %s", LOG, error.strerror or error)


async def _persist(request: ApiRequest) -> None:
    """Keep the new token through a reboot; a persist that is running already may have missed it.

    Whoever changed the token holds the new one: with the old one nothing starts any more.
    """
    try:
        holder = await asyncio.to_thread(request.service.generation.authenticator.holder_on_disk, ADMIN.name)
    except OSError as error:
        logger.error("The new token is not kept through a reboot: %s", error.strerror or error)
        return
    if holder is None:
        return
    follow_up = dataclasses.replace(request, holder=holder)
    for _ in range(TRIES):
        with contextlib.suppress(ApiError):
            await follow_up.run_job("persist")
            return
        await asyncio.sleep(0.1)


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    done = Described("The token is in force", DONE, ({"Status": "200 OK"},))
    return [
        Endpoint(
            "POST",
            "/setup",
            setup,
            parameters={vol.Required("newtoken"): new_token},
            responses={200: done, 400: "The token is not valid", 403: "Not authenticated"},
            summary="Set or change the API token",
            examples={"A new token": {"newtoken": "yourtoken"}},
            audited_as=lambda values: ("token.update.success", f"{PREFIX}/setup"[1:]),
        )
    ]

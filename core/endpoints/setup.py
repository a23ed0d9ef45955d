"""`POST /setup`: sets and changes the token."""

from __future__ import annotations

import asyncio
import logging
import os
import time

import voluptuous as vol

from jidoteki.core.auth.credentials import MAX_TOKEN, TOKEN_CHARACTERS
from jidoteki.core.jobs.logs import open_log
from jidoteki.core.service.requests import ApiRequest, own
from jidoteki.hookspecs import (
    DONE,
    PREFIX,
    ApiError,
    Appliance,
    Described,
    Endpoint,
    Label,
    Request,
    Response,
    differences,
    hookimpl,
    validators,
)

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
    """Accept 1 to 255 printable ASCII characters without spaces."""
    if not 1 <= len(value) <= MAX_TOKEN or not TOKEN_CHARACTERS.issuperset(map(ord, value)):
        raise vol.Invalid(f"must be 1 to {MAX_TOKEN} printable ASCII characters without spaces (codes 33 to 126)")
    return value


async def setup(request: Request) -> Response:
    """Set the token; it is on disk when this returns."""
    mine = own(request)
    if not request.dry_run:
        try:
            await asyncio.to_thread(_set_token, mine, request.values["newtoken"])
        except OSError as error:
            raise ApiError(400, f"The token cannot be stored: {error.strerror or error}") from error
    changed = differences.change("token", "", "")  # neither is ever shown
    return {"Status": "200 OK", **differences.shown(request.dry_run, changed)}


def _set_token(request: ApiRequest, token: str) -> None:
    _log(request.appliance, "Updating API token. Please wait..")
    try:
        request.service.generation.authenticator.set_token(token, request.holder)
    except OSError as error:
        _log(request.appliance, f"The token cannot be stored: {error.strerror or error}")
        _log(request.appliance, "Invalid or missing API token file")
        raise
    _log(request.appliance, "Updating API token successful")


def _log(appliance: Appliance, message: str) -> None:
    """Append a line to the log, which is rotated; failures are ignored, so that the token can be set on a full disk."""
    path = appliance.log / LOG
    try:
        descriptor = open_log(path, 0o640, appliance.group)
        try:
            os.write(descriptor, f"[{int(time.time())}][SYSTEM] {message}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        logger.warning("%s cannot be written: %s", LOG, error.strerror or error)


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    done = Described("The token is in force", DONE, ({"Status": "200 OK"},))
    return [
        Endpoint(
            "POST",
            "/setup",
            setup,
            parameters={vol.Required("newtoken", description=Label("New token")): new_token},
            responses={200: done, 400: "The token is not valid", 403: "Not authenticated"},
            summary="Set or change the API token",
            examples={"A new token": {"newtoken": "yourtoken"}},
            persist=True,
            audited_as=lambda values: ("token.update.success", f"{PREFIX}/setup"[1:]),
        )
    ]

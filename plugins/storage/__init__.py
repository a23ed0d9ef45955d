"""The storage of the appliance's data: `POST /storage`, `GET /storage`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import (
    ApiError,
    Appliance,
    Described,
    Document,
    Endpoint,
    Finding,
    JobType,
    Request,
    Response,
    hookimpl,
)
from jidoteki.plugins.storage import examples, jobs
from jidoteki.plugins.storage.validators import SETTINGS, STORAGE


async def change(request: Request) -> Response:
    """Start the job that writes the storage settings, if this appliance offers that type of storage."""
    storage = request.values["settings"]["storage"]
    await asyncio.to_thread(_check, request.appliance, storage)
    return await request.start_job("storage", storage=storage)


def _check(appliance: Appliance, storage: dict[str, Any]) -> None:
    offered = jobs.offered(appliance)
    if storage["type"] not in offered:
        raise ApiError(400, f"settings.storage.type must be one of {', '.join(offered)} on this appliance")
    try:
        jobs.unmasked(appliance, storage)
    except ValueError as error:
        raise ApiError(400, str(error)) from error


async def show(request: Request) -> Response:
    """Return the settings, with masked passwords, and the types of storage that this appliance offers."""
    shown = await asyncio.to_thread(jobs.shown, request.appliance)
    if shown is None:
        last = await request.job_status("storage")
        if last["status"] == "failed":
            raise ApiError(404, f"There are no storage settings, for the last change failed: {last['error-message']}")
        raise ApiError(404, "There are no storage settings yet: send them with POST /storage")
    return shown


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    """Return the job type `storage`."""
    return [
        JobType(
            "storage",
            jobs.change,
            jobs.check,
            exclusive_with=("restore",),
            log=jobs.LOG,
            persist=True,
            recover=jobs.recover,
        ),
    ]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """Return both methods of `/storage`."""
    return [
        Endpoint(
            "POST",
            "/storage",
            change,
            parameters={vol.Required("settings"): Document(SETTINGS)},
            responses={
                202: "The settings are being changed",
                400: "The settings are refused, or being changed already",
            },
            summary="Change where the appliance keeps its data, from the next reboot on",
            examples=examples.POSTED,
            starts="storage",
            audited_as=lambda values: ("storage.post", ""),
        ),
        Endpoint(
            "GET",
            "/storage",
            show,
            responses={
                200: Described("The settings and the types on offer", examples.SHOWN_SCHEMA, (examples.SHOWN,)),
                404: "Nothing has been set yet",
            },
            summary="Show where the appliance keeps its data",
        ),
    ]


@hookimpl
def jidoteki_check(appliance: Appliance) -> list[Finding]:
    """Check the list of the types of storage."""
    from jidoteki.plugins.storage import checking

    return list(checking.check(appliance))


@hookimpl
def jidoteki_init(appliance: Appliance, vendor: Path) -> None:
    """Write a list with every type of storage."""
    offered = {"options": list(STORAGE.schemas)}
    appliance.replace_file(appliance.system_etc / "storage-options.json", json.dumps(offered) + "\n")

"""The storage of the appliance's data: `POST /storage`, `GET /storage`."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import voluptuous as vol

from jidoteki.hookspecs import (
    ApiError,
    Appliance,
    Described,
    Document,
    Endpoint,
    Finding,
    JobType,
    Label,
    Request,
    Response,
    hookimpl,
)
from jidoteki.plugins.storage import examples, jobs
from jidoteki.plugins.storage.validators import INPUT, SCHEMAS, settings


async def change(request: Request) -> Response:
    """Start the job that writes the storage settings."""
    storage = request.values["settings"]["storage"]
    try:
        await asyncio.to_thread(jobs.unmasked, request.appliance, storage)
    except ValueError as error:
        raise ApiError(400, str(error), field="/settings/storage/password") from error
    return await request.start_job("storage", storage=storage)


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
            privileged=True,
            input=INPUT,
            recover=jobs.recover,
        ),
    ]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """Return both methods of `/storage`."""
    document = Document(settings(partial(jobs.offered, appliance)))
    offered = jobs.offered(appliance)
    posted = {title: each for title, each in examples.POSTED.items() if each["settings"]["storage"]["type"] in offered}
    return [
        Endpoint(
            "POST",
            "/storage",
            change,
            parameters={vol.Required("settings", description=Label("Settings")): document},
            responses={
                202: "The settings are being changed",
                400: "The settings are refused, or being changed already",
            },
            summary="Change where the appliance keeps its data, from the next reboot on",
            examples=posted,
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
    offered = {"options": list(SCHEMAS)}
    appliance.replace_file(appliance.system_etc / "storage-options.json", json.dumps(offered) + "\n")

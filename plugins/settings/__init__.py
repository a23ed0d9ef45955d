"""Network and application settings: `POST /settings`, `GET /settings`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import (
    DONE,
    ApiError,
    Appliance,
    Described,
    Document,
    Endpoint,
    Finding,
    JobType,
    JsonResponse,
    Label,
    Request,
    Response,
    differences,
    hookimpl,
    trials,
)
from jidoteki.plugins.settings import examples, jobs
from jidoteki.plugins.settings.validators import INPUT, SETTINGS
from jidoteki.plugins.settings.warnings import warnings_of


async def change(request: Request) -> Response:
    """Start the job that writes and applies the settings, and return warnings about likely mistakes."""
    settings = request.values["settings"]
    response = await request.start_job("settings", **settings)
    if isinstance(response, JsonResponse):
        told = settings.get("warnings", [])
        told = told + warnings_of(settings.get("network") or {}, request.host_config["listen"]["host"])
        if told:
            return JsonResponse({**response.data, "warnings": told}, response.status, response.headers)
    return response


async def show(request: Request) -> Response:
    """Return the stored settings, in a form that can be posted back."""
    trial = await request.trial("settings")
    settings = await asyncio.to_thread(jobs.in_force, request.appliance, trial)
    if trial and trial.pending is not None:
        return {**settings, "pending": {"seconds-left": trial.seconds_left, **trial.pending}}
    if not settings:
        last = await request.job_status("settings")
        if last["status"] == "failed":
            raise ApiError(404, f"There are no settings, for the last change failed: {last['error-message']}")
        raise ApiError(404, "There are no settings yet: send them with POST /settings")
    return settings


async def confirm(request: Request) -> Response:
    """Make the settings on trial final."""
    await request.confirm_job("settings")
    changed = differences.change("pending", "waiting", "confirmed")
    return {"Status": "200 OK", **differences.shown(request.dry_run, changed)}


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    """Return the schema of the section: how long settings wait for a confirmation where the client does not say."""
    return vol.Schema({vol.Optional("confirm", default=0): trials.SECONDS})


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    """Return the job type `settings`."""
    return [
        JobType(
            "settings",
            jobs.change,
            jobs.check,
            exclusive_with=("restore",),
            log=jobs.LOG,
            persist=True,
            privileged=True,
            input=INPUT,
            recover=jobs.recover,
            revert=jobs.revert,
        ),
    ]


@hookimpl
def jidoteki_check(appliance: Appliance) -> list[Finding]:
    """Check for a script that applies the network settings."""
    from jidoteki.plugins.settings import checking

    return list(checking.check(appliance))


@hookimpl
def jidoteki_endpoints(appliance: Appliance, config: Mapping[str, Any]) -> list[Endpoint]:
    """Return both methods of `/settings`, and `/settings/confirm`."""
    return [
        Endpoint(
            "POST",
            "/settings",
            change,
            parameters={vol.Required("settings", description=Label("Settings")): Document(SETTINGS)},
            responses={
                202: "The settings are being changed",
                400: "The settings are refused, or being changed already",
            },
            summary="Change the network and application settings",
            examples=examples.POSTED,
            starts="settings",
            confirm=config["confirm"],
            audited_as=lambda values: ("settings.post", (values["settings"].get("network") or {}).get("mode", "dhcp")),
        ),
        Endpoint(
            "GET",
            "/settings",
            show,
            responses={
                200: Described("The settings", examples.SHOWN_SCHEMA, (examples.SHOWN,)),
                404: "Nothing has been set yet",
            },
            summary="Show the network and application settings",
        ),
        Endpoint(
            "POST",
            "/settings/confirm",
            confirm,
            responses={200: Described("They are final", DONE), 400: "No settings wait for a confirmation"},
            summary="Confirm the settings that were changed with confirm=N",
        ),
    ]

"""Backup and restore of the paths below the data directory that `backup.txt` lists."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import (
    PREFIX,
    ApiError,
    Appliance,
    Described,
    Endpoint,
    FileDownload,
    Finding,
    JobType,
    JsonResponse,
    Label,
    Metric,
    Request,
    Response,
    TextFile,
    Upload,
    differences,
    hookimpl,
    previewing,
)
from jidoteki.plugins.backup import examples, jobs, metrics, preview, removals, restore_log, restoring, stored_backup
from jidoteki.plugins.backup.validators import MERGE, action, mode

LOCATION = f"{PREFIX}/backup"


async def start_or_stop(request: Request) -> Response:
    """Start a backup; or cancel a running one and delete the existing one."""
    changed = await _changes(request) if request.dry_run else []
    if request.values["action"] == "START":
        response = await request.start_job("backup")
        if request.dry_run and isinstance(response, JsonResponse):
            return JsonResponse({**response.data, "changes": changed}, response.status, response.headers)
        return response
    if not request.dry_run:
        stopped = await request.cancel_job("backup")
        outcome = await request.run_job("backup-delete", join=True, stopped=stopped)
        if outcome.status == "failed":
            raise ApiError(400, outcome.error_message)
    body = {"Status": "202 Accepted", "Location": LOCATION, **differences.shown(request.dry_run, *changed)}
    return JsonResponse(body, 202, {"Location": LOCATION})


async def _changes(request: Request) -> list[dict[str, Any]]:
    """What would become of the backup: the one that is there goes away in any case."""
    running = await request.job_running("backup")
    found = None if running else await asyncio.to_thread(stored_backup.status, request.appliance)
    former = "running" if running else (found or {}).get("status")
    new = "running" if request.values["action"] == "START" else None
    return differences.between(former, new, "backup.status")


async def status(request: Request) -> Response:
    """Return the status of the last or the running backup."""
    if await request.job_running("backup"):
        return dict(stored_backup.RUNNING)
    found = await asyncio.to_thread(stored_backup.status, request.appliance)
    if found is None:
        raise ApiError(404, "There is no backup: make one with POST /backup and action=START")
    if found.get("error-message") == jobs.INTERRUPTED and await _was_stopped(request):
        return {**found, "error-message": jobs.STOPPED}  # it had to be killed, before it could say so itself
    return found


async def _was_stopped(request: Request) -> bool:
    backups = (each for each in await request.job_records() if each.type == "backup")
    last = next(backups, None)
    return last is not None and last.status == "cancelled"


async def download(request: Request) -> Response:
    """Return the backup archive; 404 while a new one is made."""
    if await request.job_running("backup"):
        raise ApiError(404, stored_backup.BEING_MADE)
    try:
        file = await asyncio.to_thread(stored_backup.open_archive, request.appliance)
    except stored_backup.NoBackupError as error:
        raise ApiError(404, str(error)) from error
    return FileDownload(stored_backup.archive(request.appliance), "backup.tar", file)


async def log(request: Request) -> Response:
    """Return the log of backups and restores."""
    return TextFile(request.appliance.log / jobs.LOG)


RESTORED = Described(
    "Everything is restored, but for what `warnings` names; in a dry run, facts of the archive",
    previewing("200 OK", restore_log.PROPERTIES | preview.PROPERTIES | removals.PROPERTIES),
    examples.RESTORED,
)


async def restore(request: Request) -> Response:
    """Restore a backup and wait for its end."""
    values = request.values
    outcome = await request.run_job("restore", archive=str(values["archive"].path), mode=values["mode"])
    if outcome.status != "success":
        raise ApiError(400, outcome.error_message or f"The restore ended as {outcome.status}")
    told = restore_log.told(await request.job_log(outcome.id, restore_log.LINES)) if outcome.id else {}
    return {**outcome.preview, "Status": "200 OK", **told}


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    """Return the schema of what may be allowed."""
    return vol.Schema(
        {
            vol.Optional(
                "allow-incomplete",
                default=False,
                description="Whether a backup that lacks what cannot be packed is a success",
            ): bool,
            vol.Optional(
                "allow-other-owners",
                default=False,
                description="Whether a restore goes on where it cannot set the owners of files, "
                "which then belong to the service's user",
            ): bool,
            vol.Optional(
                "allow-foreign",
                default=False,
                description="Whether root, where it runs the jobs, restores backups that this appliance did not make",
            ): bool,
        }
    )


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    """Return the job types that make, delete and restore a backup."""
    return jobs.JOBS


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """Return the endpoints below `/backup`."""
    missing = {404: "There is none"}
    described = Described("Status, size, hash", examples.STATUS_SCHEMA, examples.STATUS)
    archive = Described("backup.tar", media="application/octet-stream")
    logged = Described("The log", examples=(examples.LOG,), media="text/plain")
    return [
        Endpoint(
            "POST",
            "/backup",
            start_or_stop,
            parameters={vol.Required("action", description=Label("Action")): action},
            responses={202: "The backup runs, or is deleted", 400: "The action is not valid, or a backup runs already"},
            summary="Start a backup (START), or stop or delete it (STOP)",
            examples={"Start a backup": {"action": "START"}, "Stop or delete it": {"action": "STOP"}},
            may_start="backup",
            audited_as=lambda values: ("backup.post", values["action"]),
        ),
        Endpoint("GET", "/backup", status, responses={200: described, **missing}, summary="How the last backup went"),
        Endpoint(
            "GET", "/backup/download", download, responses={200: archive, **missing}, summary="Download the backup"
        ),
        Endpoint("GET", "/backup/log", log, responses={200: logged, **missing}, summary="The log of backups, restores"),
        Endpoint(
            "POST",
            "/backup/restore",
            restore,
            parameters={
                vol.Required("archive", description=Label("Backup", "A backup.tar, or a backup.tar.gz")): Upload(),
                vol.Optional("mode", default=MERGE, description=Label("Mode")): mode,
            },
            responses={
                200: RESTORED,
                400: "The archive is refused, and nothing was restored",
            },
            summary="Restore a backup",
            starts="restore",
            audited_as=lambda values: ("backup.restore", "backup-archive.tar"),
        ),
    ]


@hookimpl
def jidoteki_check(appliance: Appliance) -> list[Finding]:
    """Check for errors that make every backup fail."""
    from jidoteki.plugins.backup import checking

    return list(checking.check(appliance))


@hookimpl
def jidoteki_metrics(appliance: Appliance) -> list[Metric]:
    """When the backup was made, and how large it is."""
    return list(metrics.metrics(appliance))


@hookimpl
def jidoteki_startup(appliance: Appliance) -> None:
    """Complete or remove what the host does not recover, such as a dry run that ended in a power cut."""
    restoring.recover(appliance)


@hookimpl
def jidoteki_init(appliance: Appliance, vendor: Path) -> None:
    """Create sample data to back up."""
    (appliance.data / "app/uploads").mkdir(parents=True)
    appliance.replace_file(appliance.data / "app/settings.json", '{"theme": "dark"}\n')
    appliance.replace_file(appliance.data / "app/uploads/hello.txt", "Hello\n")
    (appliance.data / "app/current").symlink_to("uploads/hello.txt")
    appliance.replace_file(appliance.etc / "backup.txt", "app\n")

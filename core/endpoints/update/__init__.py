"""`/update`: receives an update package, starts the job that installs it, and returns the job's status."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from pathlib import Path

import voluptuous as vol

from jidoteki.core.files import locks
from jidoteki.hookspecs import (
    JOB_STATUS,
    PREFIX,
    Appliance,
    Described,
    Endpoint,
    Job,
    JobType,
    JsonResponse,
    Label,
    Request,
    Response,
    StatusFiles,
    TextFile,
    Upload,
    hookimpl,
    previewing,
    privileges,
)

LOOK_EACH = 1.0
_removing: set[asyncio.Task[None]] = set()
#: Longer than the longest `script-timeout`, whose error message is better.
TIMEOUT = 2 * 86400.0


def check(job: Job) -> None:
    """Open the package and compare its version."""
    # Imported in the job's process only: the service does not need it.
    from jidoteki.core.endpoints.update import jobs as updates

    updates.check(job)


def run(job: Job) -> None:
    """Install the opened package."""
    from jidoteki.core.endpoints.update import jobs as updates

    updates.run(job)


def resume(job: Job, reason: str) -> None:
    """Go on with an update that died on trial."""
    from jidoteki.core.endpoints.update import jobs as updates

    updates.resume(job, reason)


def recover(appliance: Appliance) -> None:
    """Remove what a killed run had unpacked."""
    from jidoteki.core.endpoints.update import unpacked

    with privileges.raised():
        unpacked.clear(appliance)


UPDATE = JobType(
    "update",
    run,
    check,
    exclusive_with=("restore", "reboot"),
    status_files=StatusFiles(
        "status_update.json", "status_update.txt", "status_error_message.txt", "status_error_code.txt"
    ),
    busy_code="E1004",
    timeout=TIMEOUT,
    recover=recover,
    resume=resume,
    cancellable=True,
    privileged=True,
    input=vol.Schema({vol.Optional("package"): vol.All(str, vol.Length(max=4096))}),
    persist=True,
)


async def start(request: Request) -> Response:
    """Move the package to where packages sent by SFTP are, and start the update."""
    package = request.values["update"]
    if request.dry_run:
        return await request.start_job("update", package=str(package.path))
    path = await package.keep(f"software_package-{secrets.token_hex(8)}.enc")
    try:
        response = await request.start_job("update", package=str(path))
    except BaseException:
        await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))
        raise
    if isinstance(response, JsonResponse):
        task = asyncio.create_task(_remove_when_over(request, response.headers["Job-Id"], path))
        _removing.add(task)
        task.add_done_callback(_removing.discard)
    return response


async def _remove_when_over(request: Request, id: str, package: Path) -> None:
    """Remove a package that its job left: one that is cancelled or killed early does not know of it yet."""
    while True:
        record = await request.job_record(id)
        if record is None or record.status != "running":
            break
        await asyncio.sleep(LOOK_EACH)
    with contextlib.suppress(OSError):
        await asyncio.to_thread(package.unlink, missing_ok=True)


async def status(request: Request) -> Response:
    """Return the status of the last update."""
    return await request.job_status("update")


async def log(request: Request) -> Response:
    """Return the whole log of updates."""
    return TextFile(request.appliance.log / "update.log")


BEGUN = Described(
    "The update runs; in a dry run, what is told of the package",
    previewing(
        "202 Accepted",
        {
            "from-version": {"type": ["string", "null"], "description": "The version in force"},
            "to-version": {"type": ["string", "null"], "description": "That of the package"},
            "changelog": {"type": ["string", "null"], "description": "What the package says of it, up to 64 KiB"},
            "size": {"type": "integer", "description": "Bytes of the package"},
            "key-id": {"type": "string", "description": "SHA-256 of the key that the signature was made with"},
            "preflight": {"type": "string", "description": "What the package's preflight.sh printed, the last 64 KiB"},
            "package": {
                "type": "object",
                "description": "What its package.json says: name, product, minimum-version, free-space, reboot, "
                "rollback-reboot, notes",
            },
        },
    ),
    ({"Status": "202 Accepted", "Location": f"{PREFIX}/update"},),
)
STATUS = Described(
    "Status, percentage and log",
    JOB_STATUS,
    (
        {"status": "success", "percentage": 100, "log": "[1432140922][SYSTEM] Updating system successful"},
        {
            "status": "failed",
            "percentage": 20,
            "log": "[1432140922][SYSTEM] Failed updating...",
            "error-message": "Missing update package",
            "error-code": "E1003",
        },
        {"status": None, "log": None},
    ),
)
LOG = Described(
    "The log",
    examples=("[1433080791][SYSTEM] Updating system. Please wait..\n",),
    media="text/plain",
)


@hookimpl
def jidoteki_startup(appliance: Appliance) -> None:
    """Remove the packages in the spool that updates left which ended while no service was running."""
    from jidoteki.core.endpoints.update import inbox

    if locks.is_held(appliance.jobs / f"{UPDATE.name}.lock"):
        return
    for path in appliance.spool.glob(inbox.PACKAGES):
        with contextlib.suppress(OSError):
            path.unlink()


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    return [UPDATE]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [
        Endpoint(
            "POST",
            "/update",
            start,
            parameters={
                vol.Required(
                    "update", description=Label("Update package", "An encrypted, signed update package")
                ): Upload()
            },
            responses={202: BEGUN, 400: "No package came, or an update runs already"},
            summary="Update the system with an encrypted, signed package",
            starts="update",
            audited_as=lambda values: ("update.post", ""),
        ),
        Endpoint("GET", "/update", status, responses={200: STATUS}, summary="How the last update went, or goes"),
        Endpoint(
            "GET", "/update/log", log, responses={200: LOG, 404: "There is no log"}, summary="The whole update log"
        ),
    ]

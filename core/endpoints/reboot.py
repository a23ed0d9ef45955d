"""`/reboot`: persists the system's data, then reboots."""

from __future__ import annotations

from jidoteki.core.jobs import going_down, persisting
from jidoteki.core.jobs.changes import WAIT_TIMEOUT, Changes
from jidoteki.hookspecs import (
    Appliance,
    Described,
    Endpoint,
    Job,
    JobType,
    Request,
    Response,
    differences,
    hookimpl,
)

#: Twice the wait for changes, and the commands.
TIMEOUT = 2 * WAIT_TIMEOUT + 600


def run_persist(job: Job) -> None:
    """Do nothing: the host runs the persist command after the job."""


def check(job: Job) -> None:
    """Tell a dry run what would change."""
    pending = going_down.pending(job.appliance.jobs)
    put_back = [differences.change(type, "waiting for a confirmation", "put back") for type in pending]
    job.preview({"changes": [*put_back, differences.change("system", "running", "rebooting")]})


async def reboot(request: Request) -> Response:
    """Start the reboot job and return 202."""
    return await request.start_job("reboot")


def run(job: Job) -> None:
    """Wait for running changes, persist, then reboot; if the data cannot be persisted, do not reboot.

    :raises JobError: a change does not end, or a command failed; the message says that there is no reboot.
    """
    changes = Changes(job)
    changes.wait()
    going_down.persist(job)
    argv = going_down.command(job.host_config, job.appliance)
    if not argv:
        job.log(going_down.NOTHING.format("reboot"))
        return
    with changes.none_begins():  # changes that started meanwhile end first, and persist themselves
        going_down.require(going_down.run(job, "reboot", argv))


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    return [
        JobType(
            "reboot",
            run,
            check,
            exclusive_with=("update", "restore"),
            location="",
            timeout=TIMEOUT,
            makes_room=True,
            privileged=True,
        ),
        JobType(persisting.JOB_TYPE, run_persist, location="", timeout=600, persist=True, privileged=True),
    ]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    accepted = Described("The system reboots", examples=({"Status": "202 Accepted"},))
    responses: dict[int, str | Described] = {202: accepted, 400: "An update or a restore is running"}
    return [
        Endpoint(
            method,
            "/reboot",
            reboot,
            responses=responses,
            summary="Reboot the system",
            starts="reboot",
            changes=True,
            audited_as=lambda values: ("reboot.post", ""),
        )
        for method in ("GET", "POST")
    ]

"""What became of each job: `GET /jobs`, `GET /jobs/ID`; the `Job-Id` of a 202 leads there.

It is always in service; `GET /endpoints` lists it where the configuration enables it.
"""

from __future__ import annotations

from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import ApiError, Appliance, Endpoint, JobRecord, Request, Response, hookimpl
from jidoteki.plugins.jobs import examples

LOG_LINES = 10


async def show_all(request: Request) -> Response:
    """Answer with the records, the newest first."""
    return {"jobs": [described(each) for each in await request.job_records()]}


async def show(request: Request) -> Response:
    """Answer with one record and the last lines of its log."""
    record = await request.job_record(request.values["id"])
    if record is None:
        raise ApiError(404, "There is no such job, or none any more: GET /jobs lists those that are known")
    return {**described(record), "log": await request.job_log(record.id, LOG_LINES)}


def described(record: JobRecord) -> dict[str, Any]:
    """Return a record as it is answered; times are whole seconds since the epoch."""
    shown: dict[str, Any] = {
        "id": record.id,
        "type": record.kind,
        "status": record.status,
        "percentage": record.percentage,
        "started": int(record.started),
        "finished": None if record.ended is None else int(record.ended),
        "user": record.user,
        "client": record.client,
    }
    if record.status == "failed":
        shown |= {"error-message": record.error_message, "error-code": record.error_code}
    return shown


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """Both of `/jobs`."""
    return [
        Endpoint(
            "GET",
            "/jobs",
            show_all,
            responses={200: examples.LISTED},
            summary="List the last hundred jobs, newest first",
        ),
        Endpoint(
            "GET",
            "/jobs/{id}",
            show,
            parameters={vol.Required("id", description="As in the header Job-Id of the answer that started it"): str},
            responses={200: examples.SHOWN, 404: "There is no such job"},
            summary="Show how a job goes, or went",
        ),
    ]

"""The records of jobs: `GET /jobs`, `GET /jobs/ID`, its log, and cancelling; for the `Job-Id` of a 202.

It is always active; `GET /endpoints` lists it only if the configuration enables it.
"""

from __future__ import annotations

from typing import Final

import voluptuous as vol

from jidoteki.hookspecs import (
    ApiError,
    Appliance,
    Described,
    EncodedJson,
    Endpoint,
    JobRecord,
    Label,
    Request,
    Response,
    TextFile,
    TextResponse,
    differences,
    hookimpl,
)
from jidoteki.plugins.jobs import examples
from jidoteki.plugins.jobs.validators import MAX_LISTED, PAGE
from jidoteki.plugins.jobs.wire import described, encoded

LOG_LINES = 10
NOT_FOUND: Final = "There is no such job, or none any more: GET /jobs lists those that are known"
_ID: Final = {
    vol.Required("id", description=Label("Job", "As in the header Job-Id of the answer that started it")): str
}


async def show_all(request: Request) -> Response:
    """Return the records, the newest first, in pages if asked for."""
    wanted = request.values
    found = await request.job_records()
    if "before" in wanted:
        found = _after(found, wanted["before"])
    for key in ("type", "status"):
        if key in wanted:
            found = [each for each in found if getattr(each, key) == wanted[key]]
    page = found[: wanted.get("limit", MAX_LISTED)]
    return EncodedJson(_listed(page, page[-1].id if len(page) < len(found) else None))


def _after(records: list[JobRecord], id: str) -> list[JobRecord]:
    """Return the records that started before an id, whose own record may be removed: ids are numbered."""
    return [each for each in records if _number(each.id) < _number(id)]


def _number(id: str) -> int:
    return int(id.partition("-")[0])


def _listed(page: list[JobRecord], following: str | None) -> bytes:
    """Return the response; the last one is cached, as most are the same."""
    global _last
    if (page, following) != _last[:2]:
        _last = page, following, encoded({"jobs": [described(each) for each in page], "next": following})
    return _last[2]


_last: tuple[list[JobRecord], str | None, bytes] = ([], "", b"")


async def _record(request: Request) -> JobRecord:
    record = await request.job_record(request.values["id"])
    if record is None:
        raise ApiError(404, NOT_FOUND)
    return record


async def show(request: Request) -> Response:
    """Return one record and the last lines of its log."""
    record = await _record(request)
    return {**described(record), "log": await request.job_log(record.id, LOG_LINES)}


async def log(request: Request) -> Response:
    """Return the log of one run so far."""
    record = await _record(request)
    path = await request.job_log_file(record.id)
    return TextFile(path) if path else TextResponse("")


async def cancel(request: Request) -> Response:
    """Cancel one run, and return its record."""
    record = await _record(request)
    await request.cancel_run(record.id)
    changed = differences.change(f"jobs.{record.id}.status", record.status, "cancelled")
    return {**described(await _record(request)), **differences.shown(request.dry_run, changed)}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    missing: dict[int, str | Described] = {404: "There is no such job"}
    return [
        Endpoint(
            "GET",
            "/jobs",
            show_all,
            parameters=PAGE,
            responses={200: examples.LISTED, 400: "A parameter is wrong"},
            summary="List the last hundred jobs, newest first",
        ),
        Endpoint(
            "GET",
            "/jobs/{id}",
            show,
            parameters=_ID,
            responses={200: examples.SHOWN, **missing},
            summary="Show how a job goes, or went",
        ),
        Endpoint(
            "GET",
            "/jobs/{id}/log",
            log,
            parameters=_ID,
            responses={200: examples.LOG, **missing},
            summary="All that a job wrote so far; ask with Range for what came since",
        ),
        Endpoint(
            "POST",
            "/jobs/{id}/cancel",
            cancel,
            parameters=_ID,
            responses={200: examples.CANCELLED, 400: "It is not cancelled, for the reason that is given", **missing},
            summary="Cancel a job that runs",
            audited_as=lambda values: ("jobs.cancel", values["id"]),
        ),
    ]

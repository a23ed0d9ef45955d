"""`/logs` and `/debug`: information for the vendor's support. Concurrent requests share one run of the job."""

from __future__ import annotations

from jidoteki.core.endpoints.support import bundles
from jidoteki.hookspecs import (
    ApiError,
    Appliance,
    Described,
    Endpoint,
    FileDownload,
    JobType,
    Request,
    Response,
    hookimpl,
)


async def logs(request: Request) -> Response:
    """Pack the logs and send them."""
    return await _packed(request, "logs", bundles.LOGS)


async def debug(request: Request) -> Response:
    """Make the encrypted debug bundle and send it."""
    return await _packed(request, "debug", bundles.DEBUG_BUNDLE)


async def _packed(request: Request, job_type: str, name: str) -> Response:
    path = request.appliance.spool / name
    if not await request.resumes(path, name):
        outcome = await request.run_job(job_type, join=True)
        if outcome.status != "success":
            raise ApiError(400, outcome.error_message or f"The packing ended as {outcome.status}")
    return FileDownload(path, name, generated=True)


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    return [
        JobType("logs", bundles.pack_logs, log="update_logs.log", location="", timeout=600, cancellable=True),
        JobType(
            "debug", bundles.make_debug_bundle, log="update_debug.log", location="", timeout=1200, cancellable=True
        ),
    ]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    failed = {400: "It could not be packed"}
    packed, sealed = (Described(name, media="application/octet-stream") for name in ("logs.tar.gz", "debug-bundle.tar"))
    return [
        Endpoint(
            "GET",
            "/logs",
            logs,
            responses={200: packed, **failed},
            summary="Download the logs",
            audited_as=lambda values: ("logs.get", bundles.LOGS),
        ),
        Endpoint(
            "GET",
            "/debug",
            debug,
            responses={200: sealed, **failed},
            summary="Download an encrypted debug bundle",
            audited_as=lambda values: ("debug.get", bundles.DEBUG_BUNDLE),
        ),
    ]

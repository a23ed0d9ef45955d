"""`POST /certs` replaces the TLS key and certificate; `GET /certs` shows the status of that job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import (
    DONE,
    JOB_STATUS,
    PREFIX,
    Appliance,
    Described,
    Endpoint,
    Finding,
    JobType,
    Request,
    Response,
    differences,
    hookimpl,
    previewing,
    trials,
)
from jidoteki.plugins.certs import certificate_facts
from jidoteki.plugins.certs.jobs import CERTS
from jidoteki.plugins.certs.validators import PARAMETERS


async def update(request: Request) -> Response:
    """Start the job that checks and installs the files."""
    return await request.start_job("certs", **request.values)


async def status(request: Request) -> Response:
    """Return the status of the last update, and facts of the certificate in use."""
    last = await request.job_status("certs")
    answer: dict[str, Any] = {"status": last.get("status"), "log": last.get("log")}
    if answer["status"] == "failed" and last.get("error-message"):
        answer["error-message"] = last["error-message"]
    answer |= await asyncio.to_thread(certificate_facts.served, request.appliance)
    trial = await request.trial("certs")
    if trial and trial.pending is not None:
        answer["pending"] = {"seconds-left": trial.seconds_left, **trial.pending}
    return answer


async def confirm(request: Request) -> Response:
    """Make the certificate on trial final."""
    await request.confirm_job("certs")
    changed = differences.change("pending", "waiting", "confirmed")
    return {"Status": "200 OK", **differences.shown(request.dry_run, changed)}


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    """Return the schema of the section: how long certificates wait for a confirmation where the client does not say."""
    return vol.Schema({vol.Optional("confirm", default=0): trials.SECONDS})


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    """Return the job type that installs certificates."""
    return [CERTS]


@hookimpl
def jidoteki_endpoints(appliance: Appliance, config: Mapping[str, Any]) -> list[Endpoint]:
    """Return both methods of `/certs`, and `/certs/confirm`."""
    begun = "The certificates are being judged and installed; in a dry run, what is told of them"
    example_202 = {"Status": "202 Accepted", "Location": f"{PREFIX}/certs"}
    accepted: dict[int, str | Described] = {
        202: Described(begun, previewing("202 Accepted", certificate_facts.PREVIEWED), (example_202,)),
        400: "A parameter is wrong, or an update runs",
    }
    example = {
        "status": "success",
        "log": "[1459884203][SYSTEM] Validating and adding TLS certificates",
    } | certificate_facts.EXAMPLE
    shown = {**certificate_facts.PROPERTIES, "pending": certificate_facts.PENDING}
    schema = {"allOf": [JOB_STATUS, {"type": "object", "properties": shown}]}
    went = Described("How it went, and what the certificate in use is", schema, (example,))
    return [
        Endpoint(
            "POST",
            "/certs",
            update,
            parameters=PARAMETERS,
            responses=accepted,
            summary="Replace the TLS certificates",
            starts="certs",
            confirm=config["confirm"],
            audited_as=lambda values: ("certs.post", ""),
        ),
        Endpoint("GET", "/certs", status, responses={200: went}, summary="How the last certificate update went"),
        Endpoint(
            "POST",
            "/certs/confirm",
            confirm,
            responses={200: Described("It is final", DONE), 400: "No certificate waits for a confirmation"},
            summary="Confirm the certificate that was replaced with confirm=N",
        ),
    ]


@hookimpl
def jidoteki_check(appliance: Appliance) -> list[Finding]:
    """Check whether TLS clients accept the active certificate."""
    from jidoteki.plugins.certs import checking

    return list(checking.check(appliance))

"""`POST /probe` pings a host from the appliance; `GET /probe` says how the last ping went."""

from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Endpoint, Job, JobError, JobType, Request, Response, hookimpl, validators


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    count: Any = vol.All(int, vol.Range(1, 20))
    return vol.Schema({vol.Optional("count", default=3): count, vol.Optional("program", default="ping"): str})


def ping(job: Job) -> None:
    host = job.input["host"]
    job.log(f"Pinging {host}")
    if job.command(job.config["program"], "-c", str(job.config["count"]), "--", host, timeout=60) != 0:
        raise JobError(f"No answer from {host}", code="PROBE1")


async def start(request: Request) -> Response:
    return await request.start_job("probe", host=request.values["host"])


async def status(request: Request) -> Response:
    return await request.job_status("probe")


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    return [JobType("probe", run=ping)]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    host = {vol.Required("host"): validators.hostname}
    return [Endpoint("POST", "/probe", start, parameters=host), Endpoint("GET", "/probe", status)]

"""`POST /firewall` sets the network from which the appliance is reached, for good only once that is confirmed."""

import ipaddress
from pathlib import Path
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Endpoint, Job, JobError, JobType, Request, Response, hookimpl, tried_files
from jidoteki.hookspecs.conf import shell_conf
from jidoteki.hookspecs.former_files import recovery, replaced
from jidoteki.hookspecs.validators import described

SCRIPT = "firewall.sh"


@described({"type": "string", "examples": ["192.0.2.0/24"]})
def network(value: object) -> str:
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError as error:
        raise vol.Invalid("must be a network such as 192.0.2.0/24") from error


INPUT: dict[Any, Any] = {vol.Required("allow"): network}


def files(appliance: Appliance) -> list[Path]:
    return [appliance.etc / "firewall.conf"]


def put_into_force(job: Job) -> None:
    if not job.vendor_command(SCRIPT):
        raise JobError(f"There is no {SCRIPT}")


def change(job: Job) -> None:
    [conf] = files(job.appliance)
    with replaced(job, {conf: shell_conf({"allow": job.input["allow"]})}, 0o640):
        put_into_force(job)
        job.await_confirmation({"allow": job.input["allow"]})


def revert(job: Job) -> None:
    if tried_files.put_back(job, files(job.appliance)):
        put_into_force(job)


async def start(request: Request) -> Response:
    return await request.start_job("firewall", allow=request.values["allow"])


async def status(request: Request) -> Response:
    shown = await request.job_status("firewall")
    trial = await request.trial("firewall")
    if trial and trial.pending is not None:
        return {**shown, "pending": {"seconds-left": trial.seconds_left, **trial.pending}}
    return shown


async def confirm(request: Request) -> Response:
    await request.confirm_job("firewall")
    return {"Status": "200 OK"}


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    recover = recovery("firewall", files)
    return [JobType("firewall", change, revert=revert, recover=recover, privileged=True, input=vol.Schema(INPUT))]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [
        Endpoint("POST", "/firewall", start, parameters=INPUT, starts="firewall", confirm=60),
        Endpoint("GET", "/firewall", status),
        Endpoint("POST", "/firewall/confirm", confirm),
    ]

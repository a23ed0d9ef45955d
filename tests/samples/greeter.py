"""Greets, in a handler and in a job, and fails where it is told to."""

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Endpoint, Job, JobError, JobType, Request, Response, hookimpl


def greeting(name: str) -> str:
    """What the handler and the job say."""
    return f"Hello, {name}"


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    """The name to greet where none is given."""
    return vol.Schema({vol.Optional("name", default="nobody"): str})


async def greet(request: Request) -> Response:
    """Greet at once."""
    name = request.values.get("name", request.config["name"])
    if name == "crash":
        raise LookupError("the handler crashed")
    return {"greeting": greeting(name)}


async def start(request: Request) -> Response:
    """Start the job."""
    return await request.start_job("greet", name=request.values["name"])


async def end(request: Request) -> Response:
    """End the job."""
    return {"ended": await request.cancel_job("greet")}


async def status(request: Request) -> Response:
    """How the job went."""
    return await request.job_status("greet")


def check(job: Job) -> None:
    """Refuse one name, and stumble over another."""
    if job.input["name"] == "refused":
        raise JobError("Not this one", "GREET1")
    if job.input["name"] == "stumble":
        raise LookupError("the check crashed")


def run(job: Job) -> None:
    """Greet by a program."""
    name = job.input["name"]
    if name == "crash":
        raise LookupError("the job crashed")
    job.command("echo", greeting(name), timeout=10)
    while name == "endless":
        job.command("sleep", "0.1", timeout=10)
    while name == "stubborn":
        job.workspace.stat()


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    """One job type."""
    return [JobType("greet", run, check)]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """The greeting and its job."""
    name = {vol.Required("name"): str}
    return [
        Endpoint("GET", "/greeting", greet, parameters={vol.Optional("name"): str}),
        Endpoint("POST", "/greet", start, parameters=name, starts="greet"),
        Endpoint("GET", "/greet", status),
        Endpoint("DELETE", "/greet", end),
    ]

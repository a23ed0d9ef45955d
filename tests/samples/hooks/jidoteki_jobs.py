"""A job that counts the files to back up, and refuses to when there are none."""

from jidoteki.hookspecs import Appliance, Endpoint, Job, JobError, JobType, Request, Response, hookimpl


def check(job: Job) -> None:
    if not any(job.appliance.data.iterdir()):
        raise JobError("There are no files to count", code="COUNT1")


def count(job: Job) -> None:
    found = [path for path in job.appliance.data.rglob("*") if path.is_file()]
    job.progress(90)
    job.log(f"{len(found)} files")


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    return [JobType("count", run=count, check=check, exclusive_with=("restore",), timeout=600)]


async def start(request: Request) -> Response:
    return await request.start_job("count")


async def status(request: Request) -> Response:
    return await request.job_status("count")


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [Endpoint("POST", "/count", start, starts="count"), Endpoint("GET", "/count", status)]

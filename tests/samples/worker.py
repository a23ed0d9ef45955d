"""A one-file plugin whose job does what the request says."""

import os
import signal
import time
from pathlib import Path

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Endpoint, Job, JobError, JobType, Request, Response, StatusFiles, hookimpl

CHILD = 'sleep 300 & echo $! > "$1"; sleep 300'


def check(job: Job) -> None:
    if job.input["do"] == "refuse":
        raise JobError("refused by the check", "W1")
    if job.input["do"] == "leave" and job.dry_run:
        os._exit(3)


def run(job: Job) -> None:
    job.log("Working")
    job.progress(10)
    match job.input["do"]:
        case "fail":
            raise JobError("it went wrong", "W2")
        case "crash":
            raise RuntimeError("planted-internal-detail")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave" | "vanish":
            os._exit(3 if job.input["do"] == "leave" else 0)
        case "segfault" | "abort" | "realtime":
            os.kill(os.getpid(), {"segfault": signal.SIGSEGV, "abort": signal.SIGABRT}.get(job.input["do"], 40))
        case "exit":
            raise SystemExit(3)
        case "sleep":
            job.progress(42)
            for _ in range(600):
                time.sleep(0.1)
                job.progress(42)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        case "command":
            status = job.command("sh", "-c", "echo out; echo err >&2; echo $0 $PATH; env; exit 7", timeout=5)
            raise JobError(f"status {status}")
        case "slow command":
            job.command("sh", "-c", CHILD, "sh", job.input["file"], timeout=1)
        case "child":
            job.command("sh", "-c", CHILD, "sh", job.input["file"], timeout=100)
        case "priority":
            for _ in range(2):
                job.log(f"own {os.getpriority(os.PRIO_PROCESS, 0)} {session_priority()}")
                job.command("sh", "-c", "echo program $(nice) $(grep -o '[0-9]*$' /proc/self/autogroup)", timeout=5)
        case "noise":
            job.command("sh", "-c", "yes x | head -c 50000000; echo the end", timeout=30)
        case "lines":
            job.log("a\n[1][SYSTEM] forged\r\x1b[31m")
        case "stdin":
            raise JobError(f"{os.readlink('/proc/self/fd/0')} {sorted(os.listdir('/proc/self/fd'))}")


async def start(request: Request) -> Response:
    return await request.start_job("worker", **request.values)


async def run_and_wait(request: Request) -> Response:
    outcome = await request.run_job("worker", join=request.values["do"] == "sleep", **request.values)
    return {"status": outcome.status, "id": outcome.id, "message": outcome.error_message}


async def status(request: Request) -> Response:
    return await request.job_status("worker")


async def stop(request: Request) -> Response:
    return {"cancelled": await request.cancel_job("worker")}


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    files = StatusFiles("worker.json", "worker.txt", "worker_message.txt", "worker_code.txt")
    return [
        JobType("worker", run, check, status_files=files, busy_code="BUSY"),
        JobType("other", lambda job: None, exclusive_with=("worker",)),
        JobType("short", run, timeout=1),
    ]


async def other(request: Request) -> Response:
    return await request.start_job("other")


async def short(request: Request) -> Response:
    outcome = await request.run_job("short", **request.values)
    return {"status": outcome.status, "message": outcome.error_message}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    what = {vol.Required("do"): str, vol.Optional("file"): str}
    return [
        Endpoint("POST", "/worker", start, parameters=what),
        Endpoint("GET", "/worker", status),
        Endpoint("DELETE", "/worker", stop),
        Endpoint("POST", "/worker/wait", run_and_wait, parameters=what),
        Endpoint("POST", "/worker/other", other),
        Endpoint("POST", "/worker/short", short, parameters=what),
    ]


def session_priority() -> str:
    """That of the whole session, where the kernel has such; empty elsewhere."""
    try:
        return Path("/proc/self/autogroup").read_text().split()[-1]
    except OSError:
        return ""

"""A plugin that publishes events as it is told to, hears of all of them, and has a job that talks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import (
    Appliance,
    Endpoint,
    Job,
    JobType,
    LiveEvent,
    Request,
    Response,
    Service,
    StreamingResponse,
    hookimpl,
)

heard: list[str] = []


def run(job: Job) -> None:
    """Log and make progress more often than anybody should be told of."""
    for number in range(200):
        job.progress(number // 2)
        job.log(f"line {number}")
        time.sleep(0.01)


async def start(request: Request) -> Response:
    """Start the job."""
    return await request.start_job("publisher")


async def publish(request: Request) -> Response:
    """Publish `count` events with `size` characters each, and pause after each `step` of them."""
    values = request.values
    for number in range(values["first"], values["first"] + values["count"]):
        data = {"number": number, "text": "x" * values["size"]}
        request.service.publish(LiveEvent("publisher.tick", data, "/publisher"))
        if number % values["step"] == 0:
            await asyncio.sleep(0.01)
    return {"heard": heard[:100]}


async def ticks(request: Request) -> Response:
    """Stream `count` lines, and leave a file when that has ended."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            for number in range(request.values["count"]):
                yield f"tick {number}\n".encode()
                await asyncio.sleep(0.05)
        finally:
            (request.appliance.etc / "stream-ended").touch()

    return StreamingResponse(lines(), farewell=b"goodbye\n")


@hookimpl
def jidoteki_startup(service: Service) -> None:
    """Publish from a thread, too."""
    service.subscribe(lambda event: heard.append(event.name))
    thread = threading.Thread(target=lambda: service.publish(LiveEvent("publisher.started", {}, "/publisher")))
    thread.start()
    thread.join()


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    """The job."""
    return [JobType("publisher", run=run)]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """Both methods of the one path."""
    number: Any = vol.Coerce(int)
    defaults = {"first": 1, "count": 1, "size": 10, "step": 100}
    parameters = {vol.Optional(name, default=value): number for name, value in defaults.items()}
    return [
        Endpoint("GET", "/publisher", publish, parameters=parameters),
        Endpoint("GET", "/publisher/ticks", ticks, parameters={vol.Required("count"): number}),
        Endpoint("POST", "/publisher", start),
    ]

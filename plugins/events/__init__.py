"""`GET /events`: live events of the appliance, as Server-Sent Events.

An event that the host or a plugin publishes as `jidoteki.hookspecs.LiveEvent` is sent to each client that may see its
subject.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import ApiError, Appliance, Endpoint, Request, Response, Service, StreamingResponse, hookimpl
from jidoteki.plugins.events import examples, journal
from jidoteki.plugins.events.hub import Hub
from jidoteki.plugins.events.stream import BYE, Stream

#: By administration tree: reloads create new handlers, and tests have several services in a process.
_HUBS: Final[dict[Path, Hub]] = {}


async def follow(request: Request) -> Response:
    """Stream the events from now on, or after the last one that the client knows."""
    hub = _HUBS.get(request.appliance.admin)
    if hub is None:
        raise ApiError(503, "The service is just starting", headers={"Retry-After": "1"})
    stream = Stream(hub, request, request.headers.get("Last-Event-ID", ""))
    return StreamingResponse(stream, "text/event-stream", farewell=BYE)


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [
        Endpoint(
            "GET",
            "/events",
            follow,
            responses={200: examples.STREAM, 503: "There are 32 streams already"},
            summary="Follow what happens, as Server-Sent Events",
        )
    ]


@hookimpl
async def jidoteki_startup(appliance: Appliance, service: Service) -> None:
    """Continue with the events of the previous run of the service."""
    hub = Hub(service, await asyncio.to_thread(journal.take, appliance))
    _HUBS[appliance.admin] = hub
    await hub.catch_up()


@hookimpl
async def jidoteki_shutdown(appliance: Appliance) -> None:
    """Save the events for the next start."""
    hub = _HUBS.pop(appliance.admin, None)
    if hub is not None:
        await hub.end(appliance)

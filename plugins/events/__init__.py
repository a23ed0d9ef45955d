"""What happens on the appliance, as it happens: `GET /events`, Server-Sent Events.

What is published as `jidoteki.hookspecs.LiveEvent`, by the host or by any plugin, goes to each client that may see what
it is about.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import ApiError, Appliance, Endpoint, Request, Response, Service, StreamingResponse, hookimpl
from jidoteki.plugins.events import examples, journal
from jidoteki.plugins.events.hub import Hub
from jidoteki.plugins.events.stream import BYE, Stream

#: By the administration tree: reloads make handlers anew, and tests have more than one service in a process.
_HUBS: Final[dict[Path, Hub]] = {}


async def follow(request: Request) -> Response:
    """Answer with the events from now on, or from the one on that the client knows."""
    hub = _HUBS.get(request.appliance.admin)
    if hub is None:
        raise ApiError(503, "The service is just starting", headers={"Retry-After": "1"})
    stream = Stream(hub, request, request.headers.get("Last-Event-ID", ""))
    return StreamingResponse(stream, "text/event-stream", farewell=BYE)


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """The one endpoint."""
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
    """Go on where the service ended."""
    hub = Hub(service, await asyncio.to_thread(journal.take, appliance))
    _HUBS[appliance.admin] = hub
    await hub.catch_up()


@hookimpl
async def jidoteki_shutdown(appliance: Appliance) -> None:
    """Keep the events for the next start."""
    hub = _HUBS.pop(appliance.admin, None)
    if hub is not None:
        await hub.end(appliance)

"""What a ticket for a download needs: that there is such an endpoint, that the credential may use it, and a file."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from jidoteki.core.http.rendering import discard
from jidoteki.core.http.routes import Route
from jidoteki.hookspecs import ApiError

if TYPE_CHECKING:
    from jidoteki.core.service.requests import ApiRequest


def route_of(request: ApiRequest, path: str) -> Route:
    """Return the endpoint of a download that a request wants a ticket for.

    :raises ApiError: 400, that is no download; 403, not for this credential; 404, there is no such endpoint.
    """
    route = (request.service.generation.routes.find(path) or {}).get("GET")
    if not isinstance(route, Route):
        raise ApiError(404, f"There is no {path} to download")
    if not route.is_download:
        raise ApiError(400, f"{path} is no download")
    if not request.holder.user.may("GET", route.path, route.changes):
        raise ApiError(403, "This token may not do that")
    return route


async def check(request: ApiRequest, path: str) -> None:
    """Raise what a GET request would be answered; only where that may be 404, as other downloads are made first.

    :raises ApiError: as `route_of`, and what the handler of the download raises.
    """
    route = route_of(request, path)
    if 404 not in route.endpoint.responses:
        return
    form = route.form.with_path(route.values_in(path))
    values = {} if form.is_empty else await asyncio.to_thread(form.validate, {})
    asked = replace(
        request, config=route.plugin.section, headers={}, values=values, body_digest=None, change=None, stream=None
    )
    await discard(await route.endpoint.handler(asked))

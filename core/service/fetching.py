"""The JSON result of an endpoint without a request over the network, for plugins that reuse what others serve."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from jidoteki.core.auth.credentials import ADMIN
from jidoteki.core.auth.users import Holder
from jidoteki.core.http.routes import Route
from jidoteki.core.service.requests import ApiRequest
from jidoteki.hookspecs import ApiError, EncodedJson, JsonResponse, StreamingResponse

if TYPE_CHECKING:
    from jidoteki.core.service.service import Service

#: The client's address, as there is no client.
NOWHERE = "-"


async def fetch(service: Service, path: str) -> Any:
    """Return the JSON value that `GET path` returns.

    :param path: without the prefix and without a query.
    :raises ApiError: the endpoint returns an error or no JSON, is not served, or changes the appliance.
    """
    route = (service.generation.routes.find(path) or {}).get("GET")
    if not isinstance(route, Route) or route.changes:
        raise ApiError(404, f"{path} is not served")
    form = route.form.with_path(route.values_in(path))
    values = {} if form.is_empty else await asyncio.to_thread(form.validate, {})
    api = ApiRequest(route.plugin.section, service, NOWHERE, Holder(b"", ADMIN), {}, values)
    response = await route.endpoint.handler(api)
    if isinstance(response, EncodedJson):
        return json.loads(response.content)
    if isinstance(response, JsonResponse):
        response = response.data
    if isinstance(response, StreamingResponse) and (close := getattr(response.chunks, "aclose", None)):
        await close()
    if not isinstance(response, dict | list):
        raise ApiError(404, f"{path} answers no JSON")
    return response

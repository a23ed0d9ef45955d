"""The answers of dry runs: what a caller may not read is not told of what is in force."""

from __future__ import annotations

import dataclasses
from typing import Any

from jidoteki.core.http.routes import Route
from jidoteki.core.service.requests import ApiRequest
from jidoteki.hookspecs import JsonResponse, Response, differences


def told(response: Response, route: Route, request: ApiRequest) -> Response:
    """Return the answer to a dry run; the former values of its changes are for those who may GET them."""
    if request.may("GET", route.path):
        return response
    if isinstance(response, JsonResponse):
        return dataclasses.replace(response, data=_masked(response.data))
    return _masked(response) if isinstance(response, dict) else response


def _masked(data: Any) -> Any:
    changes = data.get("changes") if isinstance(data, dict) else None
    if not isinstance(changes, list):
        return data
    return {**data, "changes": [{**each, "from": differences.MASK} for each in changes if isinstance(each, dict)]}

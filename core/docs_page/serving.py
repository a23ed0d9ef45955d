"""The pages at `/docs`.

They contain no secret, and reveal no more of an appliance than its responses to unauthenticated requests (404 for an
endpoint that is not enabled, 403 for one that is).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any

from jidoteki.core.http.responses import JSON, encode
from jidoteki.core.http.routes import Routes
from jidoteki.hookspecs import Page, Visit

PATH = "/docs"

_KINDS = {
    "": "text/html; charset=utf-8",
    "/openapi.json": JSON,
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/icon.svg": "image/svg+xml",
}


def pages(routes: Routes, screens: Sequence[Mapping[str, Any]]) -> list[Page]:
    """Return the manual, its assets, and the OpenAPI document of these routes.

    :param screens: those of plugins.
    """
    return [Page(PATH + name, partial(_make, name, routes, screens), kind) for name, kind in _KINDS.items()]


def _make(name: str, routes: Routes, screens: Sequence[Mapping[str, Any]], visit: Visit) -> bytes:
    # Imported on the first request: a service whose manual nobody reads does not need it.
    if name == "":
        from jidoteki.core import openapi
        from jidoteki.core.docs_page import page

        return page.render(openapi.describe(routes)).encode()
    if name == "/openapi.json":
        from jidoteki.core import openapi

        return encode(openapi.describe(routes, screens))
    return resources.files("jidoteki.core.docs_page").joinpath(name[1:]).read_bytes()

"""Serving `/docs` and the paths below it.

They need no credential: the page and the document contain no secret, and reveal no more of an appliance than its
responses to unauthenticated requests (404 for an endpoint that is not enabled, 403 for one that is).
"""

from __future__ import annotations

import asyncio
from importlib import resources

from aiohttp import web

from jidoteki.core.http.responses import JSON, encode, send_in_pieces
from jidoteki.core.http.routes import Routes
from jidoteki.hookspecs import ApiError

PATH = "/docs"

#: Only scripts, styles and requests of the page's own origin; nothing inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_KINDS = {
    "": "text/html; charset=utf-8",
    "openapi.json": JSON,
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def is_below(path: str) -> bool:
    """Return whether a path, without its query, is `/docs` or below it."""
    return path == PATH or path.startswith(f"{PATH}/")


class Docs:
    """The page, its assets and the document, each rendered on its first request and cached until the routes change."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._routes: Routes | None = None
        self._made: dict[str, bytes] = {}

    async def answer(self, request: web.BaseRequest, routes: Routes) -> web.StreamResponse:
        """Send the file for a request.

        :param request: with a path for which `is_below` is true.
        :raises ApiError: 404, there is no such file.
        """
        name = request.rel_url.raw_path.removeprefix(PATH).removeprefix("/")
        if name not in _KINDS:
            raise ApiError(404, f"There is no such page: see {PATH}")
        async with self._lock:
            if self._routes is not routes:
                self._routes, self._made = routes, {}
            if name not in self._made:
                self._made[name] = await asyncio.to_thread(_make, name, routes)
            body = self._made[name]
        headers = {"Content-Security-Policy": POLICY, "Content-Type": _KINDS[name]}
        return await send_in_pieces(request, body, headers)


def _make(name: str, routes: Routes) -> bytes:
    # Imported on the first request: a service whose manual nobody reads does not need it.
    if name == "":
        from jidoteki.core import openapi
        from jidoteki.core.docs_page import page

        return page.render(openapi.describe(routes)).encode()
    if name == "openapi.json":
        from jidoteki.core import openapi

        return encode(openapi.describe(routes))
    return resources.files("jidoteki.core.docs_page").joinpath(name).read_bytes()

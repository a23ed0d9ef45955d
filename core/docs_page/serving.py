"""Answers requests for `/docs` and what is below it.

They need no credential: the page and the document hold no secret, and say no more of an appliance than its answers to
anybody do (an endpoint that is not enabled is 404 to all, one that is enabled 403).
"""

from __future__ import annotations

import asyncio
from importlib import resources

from aiohttp import web

from jidoteki.core.http.responses import JSON, encode, send_in_pieces
from jidoteki.core.http.routes import Routes
from jidoteki.hookspecs import ApiError

PATH = "/docs"

#: Scripts, styles and calls of the page's own origin, and nothing else; nothing inline.
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
    """Whether a path without a query is one of these."""
    return path == PATH or path.startswith(f"{PATH}/")


class Docs:
    """The page, its assets and the document, each made once for each table of routes, when it is first asked for."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._routes: Routes | None = None
        self._made: dict[str, bytes] = {}

    async def answer(self, request: web.BaseRequest, routes: Routes) -> web.StreamResponse:
        """Send the file at a path.

        :param request: for a path that `is_below` is true of.
        :raises ApiError: 404, there is none.
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
    # Imported with the first request for it: a service that nobody asks for its manual does without.
    if name == "":
        from jidoteki.core import openapi
        from jidoteki.core.docs_page import page

        return page.render(openapi.describe(routes)).encode()
    if name == "openapi.json":
        from jidoteki.core import openapi

        return encode(openapi.describe(routes))
    return resources.files("jidoteki.core.docs_page").joinpath(name).read_bytes()

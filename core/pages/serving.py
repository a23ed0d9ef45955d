"""Serving pages: without a credential, under a strict policy, compressed, and made once.

They contain no secret, and reveal no more of an appliance than its responses to unauthenticated requests.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from dataclasses import dataclass

from aiohttp import web

from jidoteki.core.http.responses import send_in_pieces
from jidoteki.core.pages.table import PageTable
from jidoteki.hookspecs import ApiError, Page, Visit

#: Only scripts, styles and requests of the page's own origin; nothing inline; markup by one library alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html"
)
FOR_EVER = "public, max-age=31536000, immutable"
#: Shorter ones are sent as they are.
COMPRESSED_FROM = 1024
_REFUSED = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Made:
    body: bytes
    compressed: bytes | None


class Pages:
    """The pages in force, each made at its first request and kept until the configuration is reloaded."""

    def __init__(self) -> None:
        self._table: PageTable | None = None
        self._made: dict[tuple[str, Visit | None], asyncio.Future[_Made]] = {}

    async def answer(self, request: web.BaseRequest, table: PageTable, visit: Visit) -> web.StreamResponse | None:
        """Send the page for a request; return None if there is none.

        :raises ApiError: 405, the method is neither GET nor HEAD.
        """
        page = table.find(request.rel_url.raw_path)
        if page is None:
            return None
        if request.method not in ("GET", "HEAD"):
            raise ApiError(405, "Use GET", headers={"Allow": "GET, HEAD"})
        made = await self._content(page, table, visit if callable(page.content) else None)
        headers = {"Content-Security-Policy": POLICY, "Content-Type": page.media, "Vary": "Accept-Encoding"}
        if page.immutable:
            headers["Cache-Control"] = FOR_EVER
        if made.compressed is not None and _takes_gzip(request):
            return await send_in_pieces(request, made.compressed, {**headers, "Content-Encoding": "gzip"})
        return await send_in_pieces(request, made.body, headers)

    async def _content(self, page: Page, table: PageTable, visit: Visit | None) -> _Made:
        if self._table is not table:
            self._table, self._made = table, {}
        made, key = self._made, (page.path, visit)
        making = made.get(key)
        if making is None:
            making = made[key] = asyncio.ensure_future(asyncio.to_thread(_make, page, visit))
        try:
            return await asyncio.shield(making)  # others may wait for it, too
        except Exception:
            made.pop(key, None)  # the next request tries again
            raise


def _make(page: Page, visit: Visit | None) -> _Made:
    body = page.content(visit) if callable(page.content) and visit else page.content
    if not isinstance(body, bytes):
        raise TypeError(f"The content of the page {page.path} is no bytes")
    compressed = gzip.compress(body, mtime=0) if len(body) >= COMPRESSED_FROM else body
    return _Made(body, compressed if len(compressed) < len(body) else None)


def _takes_gzip(request: web.BaseRequest) -> bool:
    """Return whether the client accepts gzip; https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3."""
    weights = {}
    for each in request.headers.get("Accept-Encoding", "").split(","):
        coding, _, parameter = each.partition(";")
        weights[coding.strip().lower()] = _REFUSED.fullmatch(parameter) is None
    return weights.get("gzip", weights.get("*", False))

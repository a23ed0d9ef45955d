"""The body of a request as it comes: at a pace, and no other than the one that was signed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from jidoteki.core.http.limits import Limits
from jidoteki.hookspecs import ApiError

MAX_CONTENT_TYPE = 512


class Incoming:
    """The bytes of one body.

    :param digest: SHA-256 that the whole body must have; None for any body.
    """

    def __init__(self, request: web.BaseRequest, limits: Limits, digest: bytes | None) -> None:
        self.request = request
        self._limits = limits
        self._digest = digest
        self._hash: Any = None if digest is None else hashlib.sha256()

    @property
    def content_type(self) -> str:
        """The header of this name, or the beginning of it."""
        # aiohttp's own reading of this header takes seconds over a kilobyte of quotation marks.
        return self.request.headers.get("Content-Type", "")[:MAX_CONTENT_TYPE]

    def media(self, what: str) -> str:
        """The media type of the body.

        :raises ApiError: 415, it is compressed.
        """
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ApiError(415, f"Send the {what} without Content-Encoding")
        return self.content_type.partition(";")[0].strip().lower()

    async def stream(self, media: str) -> AsyncIterator[bytes]:
        """Yield a body that is not a form in chunks.

        :param media: its required media type.
        :raises ApiError: 400, 408 or 415.
        """
        if self.media("body") != media:
            raise ApiError(415, f"Send the body as {media}")
        async for chunk in self.chunks():
            yield chunk
        self.check_digest()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what comes.

        :raises ApiError: 400 or 408.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        received = 0
        while True:
            try:
                async with asyncio.timeout(self._limits.idle):
                    chunk = await self.request.content.readany()
            except TimeoutError as error:
                raise ApiError(408, f"No data came for {self._limits.idle:g} seconds") from error
            except (web.RequestPayloadError, ConnectionError) as error:
                raise ApiError(400, "The body is damaged or ended early") from error
            if not chunk:
                return
            received += len(chunk)
            if self._hash is not None:
                self._hash.update(chunk)
            late = loop.time() - started - 30
            if late > 0 and received < late * self._limits.rate:
                raise ApiError(408, f"The body came at less than {self._limits.rate} bytes a second")
            yield chunk

    def check_digest(self) -> None:
        """Compare what came with what was signed.

        :raises ApiError: 400.
        """
        if self._hash is not None and self._hash.digest() != self._digest:
            raise ApiError(400, "The body is not the one that was signed")

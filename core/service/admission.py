"""A request that was let in, which its sender may lose the right to while it is being answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from jidoteki.core.auth.authentication import FORBIDDEN
from jidoteki.core.auth.gate import Authenticated, AuthenticationRequest
from jidoteki.core.plugin_manager.manager import Plugin
from jidoteki.core.service.requests import ApiRequest, Change
from jidoteki.core.service.service import Service
from jidoteki.hookspecs import ApiError

T = TypeVar("T")


@dataclass(slots=True)
class Admission:
    """A request that the gate let in."""

    service: Service
    attempt: AuthenticationRequest
    found: Authenticated

    def request(
        self,
        plugin: Plugin,
        values: Mapping[str, Any],
        change: Change | None = None,
        stream: AsyncIterator[bytes] | None = None,
    ) -> ApiRequest:
        """What a plugin is handed of it.

        :param values: the validated parameters.
        :param stream: the body, where the handler reads it.
        """
        attempt, found = self.attempt, self.found
        return ApiRequest(
            plugin.section, self.service, attempt.client, found.holder, attempt.request.headers, values,
            found.body_digest, change, stream,
        )  # fmt: skip

    def holds(self) -> bool:
        """Whether what is in force now would let it in, too."""
        generation = self.service.generation
        return generation.gate.still_admits(generation.routes, self.attempt, self.found)

    async def note(self, action: str, original: tuple[str, str] | None = None) -> None:
        """Audit something that clients can repeat at will."""
        await self.service.generation.gate.note(self.attempt, self.found.user, action, original)

    async def check(self) -> None:
        """Let nobody act whose token was changed or revoked since the request began.

        :raises ApiError: 403.
        """
        if not self.holds():
            await self.note("authorization.revoked")
            raise ApiError(403, FORBIDDEN)

    async def bounds(self, reading: Awaitable[T]) -> T:
        """Read the body for as long as its sender may send it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as revoked:
                with self.service.in_flight.watched(self.holds, lambda: revoked.reschedule(loop.time())):
                    return await reading
        except TimeoutError:
            await self.check()
            raise

    @contextmanager
    def watch(self, end: Callable[[], None]) -> Iterator[None]:
        """Abort a response when its client's authorization is revoked while it is being sent."""

        def revoked() -> None:
            end()
            telling = asyncio.ensure_future(self.note("authorization.revoked"))
            self.service.telling.add(telling)
            telling.add_done_callback(self.service.telling.discard)

        with self.service.in_flight.watched(self.holds, revoked):
            yield

"""Making a request again that may have been made: with an `Idempotency-Key`, where the appliance knows what that is."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final

import aiohttp

from jidoteki.client.errors import ApiResponseError, ClientError, ConnectionLostError, UnreachableError

HEADER: Final = "Idempotency-Key"
TRIES: Final = 8
LONGEST_PAUSE: Final = 8.0

Attempt = Callable[[Mapping[str, str]], AbstractAsyncContextManager[aiohttp.ClientResponse]]


async def enter(
    stack: AsyncExitStack, attempt: Attempt, knows_keys: Callable[[], Awaitable[bool]], patience: float
) -> aiohttp.ClientResponse:
    """Make a request, again where its answer was lost, and keep the answer open as long as `stack`.

    :param attempt: makes it, with further headers.
    :param knows_keys: asks whether the appliance does not do again what it did.
    :param patience: seconds to wait while it is still being carried out.
    """
    key = {HEADER: secrets.token_hex(16)}
    pauses = _Pauses(patience)
    known = False
    while True:
        try:
            return await stack.enter_async_context(attempt(key))
        except UnreachableError as error:
            if not pauses.made and not isinstance(error, ConnectionLostError):
                raise
            lost: ClientError = error
        except ApiResponseError as error:
            if not pauses.made or error.status != 409 or not error.again:
                raise
            pauses.made, lost = 1, error
        await pauses.wait(lost)
        while not known:
            try:
                known = await knows_keys()
            except UnreachableError:
                await pauses.wait(lost)
                continue
            if not known:
                raise lost


class _Pauses:
    """Waits longer each time, and not for ever."""

    def __init__(self, patience: float) -> None:
        self.made = 0
        self._patience = patience
        self._until = float("inf")

    async def wait(self, lost: ClientError) -> None:
        """Wait a moment.

        :raises ClientError: `lost`, when that was often or long enough.
        """
        self._until = min(self._until, time.monotonic() + self._patience)
        self.made += 1
        if self.made > TRIES or time.monotonic() > self._until:
            raise lost
        await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2**self.made))

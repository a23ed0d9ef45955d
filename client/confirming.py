"""Confirming a change that is put back unless somebody does."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from jidoteki.client.answers import Answer
from jidoteki.client.errors import ApiResponseError, UnreachableError
from jidoteki.client.jobs import is_temporary

if TYPE_CHECKING:
    from jidoteki.client.connection import Client

#: The code of a refusal while the change is still being made.
NOT_YET = "E1004"


def trying(path: str, seconds: int) -> str:
    """Return the path of a request whose change must be confirmed.

    :param path: with a query or without.
    """
    return f"{path}{'&' if '?' in path else '?'}confirm={seconds}"


async def confirm(client: Client, path: str, seconds: float, interval: float) -> Answer:
    """Confirm a change as soon as that is possible: see `Client.confirm`."""
    target = f"{path.partition('?')[0].rstrip('/')}/confirm"
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await client.request("POST", target)
        except (UnreachableError, ApiResponseError) as error:
            not_yet = isinstance(error, ApiResponseError) and error.code == NOT_YET
            if not (not_yet or is_temporary(error)) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(interval)

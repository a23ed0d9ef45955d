"""Confirming a change that is put back unless somebody does."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final

from jidoteki.client.answers import Answer
from jidoteki.client.errors import ApiResponseError, UnreachableError
from jidoteki.client.jobs import is_temporary

if TYPE_CHECKING:
    from jidoteki.client.connection import Client

#: The code of a refusal while the change is still being made.
NOT_YET: Final = "E1004"
#: Seconds of the longest trial, for a path that does not say how long its own is.
LONGEST: Final = 3600
#: Seconds beside those of the trial that the change itself may take while the appliance is away.
MARGIN: Final = 60
DAY: Final = 24 * 3600.0


def trying(path: str, seconds: int) -> str:
    """Return the path of a request whose change must be confirmed.

    :param path: with a query or without.
    """
    return f"{path}{'&' if '?' in path else '?'}confirm={seconds}"


def patience(path: str) -> float:
    """Return the seconds after which a change can be confirmed no longer, if the appliance is away meanwhile.

    :param path: of the request that made the change; its `confirm=N` counts.
    """
    asked = re.search(r"[?&]confirm=([0-9]{1,4})(?![0-9])", path)
    return (int(asked[1]) if asked else LONGEST) + MARGIN


async def confirm(client: Client, path: str, seconds: float | None, interval: float) -> Answer:
    """Confirm a change as soon as that is possible: see `Client.confirm`."""
    target = f"{path.partition('?')[0].rstrip('/')}/confirm"
    begun = time.monotonic()
    deadline = begun + (patience(path) if seconds is None else seconds)
    while True:
        try:
            return await client.request("POST", target)
        except (UnreachableError, ApiResponseError) as error:
            not_yet = isinstance(error, ApiResponseError) and error.code == NOT_YET
            if not_yet and seconds is None:  # the time of the trial has not begun
                deadline = min(begun + DAY, time.monotonic() + patience(path))
            if not (not_yet or is_temporary(error)) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(interval)

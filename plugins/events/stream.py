"""The stream of events for one client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Final, Self

from jidoteki.hookspecs import ApiError, Request
from jidoteki.plugins.events.hub import Hub
from jidoteki.plugins.events.ring import Entry, frame

#: Seconds without an event after which a comment keeps the connection alive.
SILENCE: Final = 15.0
#: Bytes of events in one chunk.
TOGETHER: Final = 16 * 1024
#: Milliseconds after which a client reconnects.
RETRY: Final = 1000
BYE: Final = frame("bye", "{}")
COMMENT: Final = b":\n\n"
#: The endpoints whose content makes up the state.
STATE: Final = ("jobs", "health", "services")


class Stream:
    """The chunks of a stream, which is counted until `aclose`.

    :param last: the id of the last event that the client knows; empty if it knows none.
    :raises ApiError: 503, there are too many.
    """

    def __init__(self, hub: Hub, request: Request, last: str) -> None:
        hub.open()
        self._hub, self._request, self._last = hub, request, last
        self._closed = False
        self._pieces = self._events()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """End the stream and its count."""
        if not self._closed:
            self._closed = True
            self._hub.close()
        await self._pieces.aclose()

    async def _events(self) -> AsyncGenerator[bytes]:
        loop = asyncio.get_running_loop()
        ring = self._hub.ring
        number = ring.number_of(self._last) if self._last else None
        yield f"retry: {RETRY}\n".encode() + await self._hello()
        if number is None:
            reason = "The last event that you know is not known here any more" if self._last else ""
            number = ring.last
            yield await self._state(reason)
        sent = loop.time()
        while True:
            if self._hub.ring is not ring or not ring.has_all_after(number):
                ring = self._hub.ring
                number = ring.last
                yield await self._state("You took the events too slowly, or some were lost")
                sent = loop.time()
            entries = ring.after(number, TOGETHER)
            number += len(entries)
            told = self._for_client(entries)
            if told or loop.time() - sent >= SILENCE:
                yield told or COMMENT
                sent = loop.time()
            elif not entries:
                await self._hub.changes(max(0.0, SILENCE - (loop.time() - sent)))

    def _for_client(self, entries: list[Entry]) -> bytes:
        """Return the events that the client is authorized to receive."""
        may = {path: self._request.may("GET", path) for path in {each.path for each in entries}}
        return b"".join(each.wire for each in entries if may[each.path])

    async def _hello(self) -> bytes:
        told: dict[str, Any] = {"boot": self._hub.ring.boot}
        version = await self._shown("/version")
        told["version"] = version.get("version") if isinstance(version, dict) else None
        told["build"] = await self._shown("/build")
        return frame("hello", json.dumps(told))

    async def _state(self, reason: str) -> bytes:
        """Return the whole state, in place of lost events.

        Its end alone has an id: a client whose connection breaks before it must get all of it again.

        :param reason: why events were lost, for a `reset` event; empty for a new client.
        """
        ring = self._hub.ring
        id = ring.id(ring.last)
        state = {}
        for name in STATE:
            shown = await self._shown(f"/{name}")
            if shown is not None:
                state[name] = shown.get(name, shown) if isinstance(shown, dict) else shown
        reset = frame("reset", json.dumps({"reason": reason})) if reason else b""
        return reset + frame("state", json.dumps(state), id)

    async def _shown(self, path: str) -> Any:
        """Return the content of an endpoint; None if the client is not authorized, or it is not served."""
        if not self._request.may("GET", path):
            return None
        try:
            return await self._hub.service.fetch(path)
        except ApiError:
            return None

"""How the client takes Server-Sent Events apart, and what it makes of an appliance that is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from aiohttp import web
from servers import serving

from jidoteki.client import ApiResponseError, Client, ClientError, Event
from jidoteki.client.events import MAX_EVENT, Parser
from jidoteki.testing.fixtures import TOKEN

STREAM = (
    b': comment\n\nretry: 5\nid: a-1\nevent: job\ndata: {"id":\ndata: 1}\n\n'
    b"data:plain\r\n\r\nid\revent: x\rdata\r\r event: no field\nid: b\0\ndata: 2\n\n"
    b"event: without data\n\ndata: cut off"
)
EVENTS = [Event("job", {"id": 1}, "a-1"), Event("message", "plain", "a-1"), Event("x", "", ""), Event("message", 2, "")]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_taken_apart_wherever_the_pieces_end(size: int) -> None:
    parser = Parser()
    found = [event for at in range(0, len(STREAM), size) for event in parser.feed(STREAM[at : at + size])]

    assert found == EVENTS


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65530 + b"\n"])
def test_an_event_without_end_is_given_up(piece: bytes) -> None:
    parser = Parser()

    def feed() -> None:
        for _ in range(MAX_EVENT // len(piece) + 2):
            parser.feed(piece)

    with pytest.raises(ClientError, match="an event of more than"):
        feed()


async def test_what_are_no_events_is_told() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({})

    async with serving(answer) as url, Client(url, TOKEN) as api:
        with pytest.raises(ClientError, match="no events"):
            await anext(api.events())


async def test_a_refusal_is_told_at_once_and_only_a_passing_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jidoteki.client.events.RETRY", 0.01)
    statuses = iter([200, 503, 200, 403])
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Last-Event-ID", ""))
        text = f"id: a-{len(asked)}\ndata: {len(asked)}\n\n"
        return web.Response(status=next(statuses), text=text, content_type="text/event-stream")

    found = []

    async def read(api: Client) -> None:
        async for event in api.events("a-0"):
            found.append(event.data)

    async with serving(answer) as url, Client(url, TOKEN) as api:
        with pytest.raises(ApiResponseError) as raised:
            await read(api)

    assert raised.value.status == 403
    assert found == [1, 3]
    assert asked == ["a-0", "a-1", "a-1", "a-3"]


class Telling:
    """An appliance with one job, whose events come when a test says so."""

    def __init__(self, *looks: int) -> None:
        self.events: asyncio.Queue[int] = asyncio.Queue()
        self.looks = 0
        self._looks = looks
        self.on_look: Callable[[], None] = lambda: None

    def _job(self, percentage: int) -> dict[str, object]:
        status = "success" if percentage == 100 else "running"
        return {"id": "000001-update", "type": "update", "status": status, "percentage": percentage}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as the appliance."""
        if request.method == "POST":
            return web.json_response({"Status": "202 Accepted"}, status=202, headers={"Job-Id": "000001-update"})
        if not request.path.endswith("/events"):
            told = self._job(self._looks[min(self.looks, len(self._looks) - 1)])
            self.looks += 1
            self.on_look()
            return web.json_response(told)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        while True:
            told = self._job(await self.events.get())
            await stream.write(f"event: job\ndata: {json.dumps(told)}\n\n".encode())


async def _seen(telling: Telling) -> list[int]:
    """Return the percentages that are told to who waits for the job."""
    seen: list[int] = []
    async with serving(telling.answer) as url, Client(url, TOKEN) as api:
        await api.request("POST", "/update")
        await api.wait("/update", lambda status: seen.append(status["percentage"]), seconds=20, interval=0.3)
    return seen


async def test_an_event_that_comes_after_a_newer_look_tells_nothing_older(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jidoteki.client.jobs.LOOK_INTERVAL", 0.3)
    telling = Telling(0, 30, 52, 100)
    telling.on_look = lambda: telling.events.put_nowait({1: 0, 2: 21}.get(telling.looks, 100))

    assert list(dict.fromkeys(await _seen(telling))) == [0, 30, 52, 100]


async def test_what_came_before_a_look_tells_nothing_older_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jidoteki.client.jobs.LOOK_INTERVAL", 0.3)
    telling = Telling(0, 30, 100)
    telling.events.put_nowait(21)

    seen = await _seen(telling)

    assert seen == sorted(seen) and seen[-1] == 100

"""`GET /events` followed by a third-party client, and by the client and the commands of this project."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
import urllib3
from eventkit import PREFIX, publishing
from ld_eventsource import SSEClient
from ld_eventsource.config import ConnectStrategy, ErrorStrategy, RetryDelayStrategy

from jidoteki.client import Client
from jidoteki.testing import Host, MakeHost, wait_until

EVENTS = 1000


@pytest.fixture
def publisher(jidoteki_host: MakeHost) -> Host:
    return publishing(jidoteki_host)


def publish_over_two_restarts(host: Host, names: list[str]) -> None:
    """Publish all events, a third in each of three runs of the service, which stop while events are in transit.

    :param names: the events that the client has received: it reconnects in each run.
    """
    port = host.url.rsplit(":", 1)[1]
    for life, first, count in ((1, 1, 333), (2, 334, 333), (3, 667, 334)):
        wait_until(lambda: names.count("hello") == life)  # noqa: B023  # called at once
        host.get("/publisher", query=f"first={first}&count={count}&step=10")
        if first < 667:
            host.stop()
            host.start("--port", port)


def all_numbers(received: list[int]) -> bool:
    return bool(received) and received[-1] == EVENTS


def test_an_event_source_follows_1000_events_over_two_restarts_without_a_gap(publisher: Host) -> None:
    pool = urllib3.PoolManager(ca_certs=str(publisher.certificate), assert_hostname=False)
    connect = ConnectStrategy.http(
        f"{publisher.url}{PREFIX}/events{publisher.query('GET', '/events')}", pool=pool,
        urllib3_request_options={"timeout": urllib3.Timeout(read=30)},
    )  # fmt: skip
    client = SSEClient(
        connect,
        initial_retry_delay=0.2,
        retry_delay_strategy=RetryDelayStrategy.default(max_delay=1),
        error_strategy=ErrorStrategy.always_continue(),
    )
    names: list[str] = []
    received: list[int] = []

    def read() -> None:
        for event in client.events:
            names.append(event.event)
            if event.event == "state":
                received.append(0)
            if event.event == "publisher.tick":
                received.append(json.loads(event.data)["number"])
            if all_numbers(received):
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        publish_over_two_restarts(publisher, names)
        reader.join(60)
    finally:
        client.close()

    assert received == list(range(EVENTS + 1))
    assert "reset" not in names


async def test_the_client_follows_them_too(publisher: Host) -> None:
    received: list[int] = []
    names: list[str] = []

    async def read() -> None:
        async with Client(publisher.url, publisher.token, cafile=publisher.certificate, verify=False) as api:
            async for event in api.events():
                names.append(event.name)
                if event.name == "state":
                    received.append(0)
                if event.name == "publisher.tick":
                    received.append(event.data["number"])
                if all_numbers(received):
                    return

    reading = asyncio.create_task(read())
    await asyncio.to_thread(publish_over_two_restarts, publisher, names)
    await asyncio.wait_for(reading, 60)

    assert received == list(range(EVENTS + 1))
    assert "reset" not in names

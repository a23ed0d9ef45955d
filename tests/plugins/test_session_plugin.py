"""`GET /session`, and named tokens that expire."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from documented import document_of, undocumented

from jidoteki.core.auth import expiry
from jidoteki.hookspecs.named_tokens import FILE
from jidoteki.testing import Answer, Host, InProcessClient, MakeClient, MakeHost

NAMED = {"named-tokens": True}


@pytest.fixture
async def client(jidoteki_client: MakeClient) -> InProcessClient:
    return await jidoteki_client(enable=["session", "tokens"], authentication=NAMED)


async def made(client: InProcessClient, expires: int | None = None) -> str:
    values = {"name": "monitor", "scopes": "read, /backup"} | ({} if expires is None else {"expires": str(expires)})
    answer = await client.post("/tokens", values)
    assert answer.status == 200, answer
    assert answer.json.get("expires") == expires
    token: str = answer.json["token"]
    return token


async def asked(client: InProcessClient, token: str) -> Answer:
    return await client.get("/session", query=f"token={token}", auth="none")


class Clock:
    """The wall clock, and one that cannot be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.running = time.time(), 1000.0
        monkeypatch.setattr(expiry, "_BEGAN", (self.wall, self.running))
        clocks = SimpleNamespace(
            time=lambda: self.wall, clock_gettime=lambda number: self.running, CLOCK_BOOTTIME=time.CLOCK_BOOTTIME
        )
        monkeypatch.setattr(expiry, "time", clocks)

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.running += seconds


async def test_a_token_of_any_scope_may_ask_about_itself(client: InProcessClient) -> None:
    answer = await client.post("/tokens", {"name": "updates", "scopes": "POST /update"})

    shown = await asked(client, answer.json["token"])

    assert (shown.status, shown.json["scopes"]) == (200, ["POST /update"])
    assert (await client.get("/version", query=f"token={answer.json['token']}", auth="none")).status == 403


async def test_the_administrator_may_do_everything_and_has_no_end(client: InProcessClient) -> None:
    assert (await client.get("/session")).json == {
        "name": "admin", "administrator": True, "scopes": ["all"], "expires": None
    }  # fmt: skip


def test_a_named_token_sees_its_own_scopes_and_end(jidoteki_host: MakeHost) -> None:
    host: Host = jidoteki_host(enable=["session", "tokens"], authentication=NAMED)
    end = int(time.time()) + 3600
    answer = host.post("/tokens", "-F", "name=monitor", "-F", "scopes=read", "-F", f"expires={end}")
    token = answer.json["token"]

    shown = host.get("/session", "-H", f"Authorization: Bearer {token}", auth="none")

    assert shown.json == {"name": "monitor", "administrator": False, "scopes": ["read"], "expires": end}
    assert host.get("/tokens").json["tokens"]["monitor"]["expires"] == end
    assert undocumented(document_of(host), "GET", "/api/v1/admin/session", shown) is None
    assert undocumented(document_of(host), "GET", "/api/v1/admin/tokens", host.get("/tokens")) is None


@pytest.mark.parametrize("expires", ["0", "-1", "x", "1.5", "99999999999", "1795000000 ", "", "%D9%A1"])
async def test_an_end_that_is_none_is_refused(client: InProcessClient, expires: str) -> None:
    answer = await client.post("/tokens", {"name": "monitor", "scopes": "read", "expires": expires})

    assert answer.status == 400 and "expires must be a time to come" in answer.json["Error-Message"]


def test_a_token_counts_until_its_end_and_not_a_second_longer(jidoteki_host: MakeHost) -> None:
    host: Host = jidoteki_host(enable=["session", "tokens"], authentication=NAMED)
    end = int(time.time()) + 3
    token = host.request("POST", "/tokens", {"name": "m", "scopes": "read", "expires": str(end)}).json["token"]
    seen = []
    while time.time() < end + 0.5:
        before = time.time()
        status = host.request("GET", "/version", auth="none", query=f"token={token}").status
        seen.append((before, time.time(), status))
        time.sleep(0.2)

    assert seen[0][2] == 200
    assert all(status == 403 for before, _, status in seen if before >= end)
    assert all(status == 200 for _, after, status in seen if after < end)


async def test_hashes_and_jobs_of_an_expired_token_are_refused_too(
    client: InProcessClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = int(time.time()) + 100
    token = await made(client, end)
    clock = Clock(monkeypatch)
    assert (await asked(client, token)).status == 200

    clock.go(101)

    assert (await asked(client, token)).status == 403
    assert (await client.post("/backup", {"action": "START"}, query=f"token={token}", auth="none")).status == 403
    assert (await client.get("/session")).status == 200
    assert "monitor" in (await client.get("/tokens")).json["tokens"]


async def test_a_clock_that_is_set_back_prolongs_nothing(
    client: InProcessClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await made(client, int(time.time()) + 100)
    clock = Clock(monkeypatch)

    clock.wall -= 86400
    assert (await asked(client, token)).status == 200
    clock.go(101)

    assert (await asked(client, token)).status == 403


async def test_a_token_with_an_end_does_not_count_before_it_was_made(
    client: InProcessClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a start with a clock that shows 1970."""
    token = await made(client, int(time.time()) + 10_000)
    clock = Clock(monkeypatch)
    monkeypatch.setattr(expiry, "_BEGAN", (clock.wall - 1e6, clock.running))
    clock.wall -= 1e6

    assert (await asked(client, token)).status == 403


@pytest.mark.parametrize("expires", ["1795000000", -1, 1.5, True, [], 10**12, {}])
async def test_an_end_in_the_file_that_makes_no_sense_makes_the_token_nobodys(
    client: InProcessClient, expires: Any
) -> None:
    token = await made(client)
    path = client.appliance.etc / FILE
    content = json.loads(path.read_text())
    content["tokens"]["monitor"]["expires"] = expires
    await asyncio.to_thread(client.appliance.replace_file, path, json.dumps(content), 0o600)

    assert (await asked(client, token)).status == 403

"""Tickets: one request of one path each, in the place of whoever it was made for."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from gatekit import CLIENT, Door, attempt

from jidoteki.core.auth import tickets
from jidoteki.core.auth.tickets import Tickets, TooManyTicketsError
from jidoteki.core.auth.users import Holder, User
from jidoteki.hookspecs.credentials import secret_of


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def made(door: Door, user: str = "admin", path: str = "/version", seconds: float = 60) -> str:
    holder = door.gate.authenticator.holder(user)
    assert holder is not None
    return f"ticket={door.gate.tickets.issue(holder, path, seconds)}"


async def test_a_ticket_is_worth_one_request_of_its_owner(door: Door) -> None:
    ticket = made(door, "robot")

    found = await door.admit(attempt(ticket))
    error = await door.refused(attempt(ticket))

    assert (found.user, found.signed) == ("robot", None)
    assert (error.status, error.message) == (403, "Authentication error")
    assert not door.throttle.is_free(CLIENT), "a ticket that is used up counts as a guess"


async def test_a_slash_at_the_end_names_the_same_path(door: Door) -> None:
    assert (await door.admit(attempt(made(door), path="/version/"))).user == "admin"


async def test_a_ticket_is_worth_nothing_elsewhere_and_is_not_used_up_by_that(door: Door) -> None:
    ticket = made(door)
    door.pause = 0.0  # of which each refusal would make the next one wait
    signed = attempt(ticket)
    headers: Any = signed.request.headers
    headers["Signature-Input"] = "sig=()"

    for each in (
        attempt(ticket, path="/health"),
        attempt(ticket, method="POST"),
        attempt(f"{ticket}&{ticket}"),
        attempt(f"{ticket}&token=guess"),
        attempt(ticket, authorization="Bearer guess"),
        attempt(f"{ticket}x"),
        attempt("ticket=" + "x" * 100),
        attempt("ticket=%C3%A9"),
        attempt("ticket="),
        signed,
    ):
        assert (await door.refused(each)).status == 403
    assert (await door.admit(attempt(ticket))).user == "admin"


async def test_a_head_request_uses_up_no_ticket(door: Door) -> None:
    ticket = made(door)
    head = attempt(ticket)
    head.request.method = "HEAD"  # the gate's own method is GET for it

    assert (await door.refused(head)).status == 403


async def test_a_ticket_ends_with_the_credential_it_was_made_with(door: Door) -> None:
    ticket = made(door, "robot")
    robot = {"key": secret_of(b"another").decode(), "scopes": ["GET /version"]}
    (door.appliance.etc / "api.tokens.json").write_text(json.dumps({"tokens": {"robot": robot}}))
    await asyncio.sleep(0)  # files are looked at once in each step of the event loop

    assert (await door.refused(attempt(ticket))).status == 403


async def test_a_ticket_allows_no_more_than_its_owner_may(door: Door) -> None:
    ticket = made(door, "robot", "/health")

    error = await door.refused(attempt(ticket, path="/health"))

    assert error.message == "This token may not do that"


def holder(name: str) -> Holder:
    return Holder(name.encode(), User(name, ("all",)))


def test_a_ticket_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waiting = Tickets()
    first, second = (waiting.issue(holder("a"), "/logs", 60) for _ in range(2))

    now[0] += 60
    redeemed = waiting.redeem(first, "/logs")
    assert redeemed and redeemed.holder == holder("a")
    now[0] += 0.001
    assert waiting.redeem(second, "/logs") is None


def test_so_many_tickets_may_wait_of_one_and_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waiting = Tickets()
    for each in range(tickets.MAX_IN_ALL // tickets.MAX_OF_A_CREDENTIAL):
        for _ in range(tickets.MAX_OF_A_CREDENTIAL):
            last = waiting.issue(holder(str(each)), "/logs", 60)
        with pytest.raises(TooManyTicketsError):
            waiting.issue(holder(str(each)), "/logs", 60)
    with pytest.raises(TooManyTicketsError):
        waiting.issue(holder("another"), "/logs", 60)

    assert waiting.redeem(last, "/logs")
    assert waiting.issue(holder("another"), "/logs", 60)
    now[0] += 61
    for _ in range(tickets.MAX_OF_A_CREDENTIAL):
        assert waiting.issue(holder("0"), "/logs", 60)

"""The gate: who is let in, what is slowed down and audited on the way, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gatekit import CLIENT, PREFIX, Door, attempt, route
from signing import Signing

from jidoteki.core.auth import gate as gates
from jidoteki.core.auth.gate import Authenticated, AuthenticationRequest, Gate
from jidoteki.core.auth.nonces import Nonces, TooManyNoncesError
from jidoteki.core.auth.users import Holder, User
from jidoteki.core.http.routes import OutOfService
from jidoteki.hookspecs.credentials import secret_of

GOOD = "token=secret"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def signed(**options: Any) -> AuthenticationRequest:
    made = Signing(**options)
    path = made.path.removeprefix(PREFIX)
    return AuthenticationRequest(made.request(), route(path), made.method, path, CLIENT)


async def test_the_administrator_is_let_in_and_nothing_is_noted(door: Door) -> None:
    for query, authorization in ((GOOD, None), ("", "Bearer secret")):
        found = await door.admit(attempt(query, authorization=authorization))
        assert (found.user, found.holder.key, found.signed, found.body_digest) == (
            "admin",
            secret_of(b"secret"),
            None,
            None,
        )
    assert door.audit.notes == []
    assert door.throttle.is_free(CLIENT)
    assert door.names.refreshed == 0


@pytest.mark.parametrize("query", ["", "token=guess", "hash=00", "token=", f"{GOOD}&hash=guess"])
async def test_whoever_shows_nothing_right_is_refused_noted_and_slowed_down(door: Door, query: str) -> None:
    error = await door.refused(attempt(query))

    assert (error.status, error.message) == (403, "Authentication error")
    original = ("token.authenticate.failed", "api/v1/admin/version")
    assert door.audit.notes == [(CLIENT, "-", "authentication.failure", f"GET {PREFIX}/version", original)]
    assert not door.throttle.is_free(CLIENT)
    assert door.throttle.is_free("192.0.2.8")


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "/setup", "token.setup.failed"),
        ("GET", "/setup", "token.authenticate.failed"),
        ("POST", "/version", "token.authenticate.failed"),
    ],
)
async def test_the_log_of_the_original_tells_a_failed_setup_apart(
    door: Door, method: str, path: str, action: str
) -> None:
    await door.refused(attempt("token=x", method, path))

    assert door.audit.notes[0][4] == (action, f"api/v1/admin{path}")


async def test_and_what_fails_while_a_passphrase_waits(tmp_path: Path) -> None:
    door = Door(tmp_path, token=None, first_run=True)

    error = await door.refused(attempt(GOOD))

    assert door.audit.notes[0][4] == ("token.firstrun.failed", "api/v1/admin/version")
    assert error.message == "Authentication error"


async def test_an_appliance_that_was_never_set_up_says_how_that_begins(tmp_path: Path) -> None:
    door = Door(tmp_path, token=None)

    error = await door.refused(attempt(GOOD))
    first = await door.admit(
        AuthenticationRequest(attempt().request, route("/setup", True), "POST", "/setup", "192.0.2.9")
    )

    assert (error.status, error.message) == (
        403,
        "Authentication error: this appliance was never set up; begin with POST /setup and a newtoken of your choice",
    )
    assert first.user == "first-setup"


async def test_a_named_token_that_may_not_do_it_is_told_so_noted_and_not_slowed_down(door: Door) -> None:
    assert (await door.admit(attempt("token=r2"))).user == "robot"
    error = await door.refused(attempt("token=r2", path="/build"))

    assert (error.status, error.message) == (403, "This token may not do that")
    assert door.audit.notes == [(CLIENT, "robot", "authorization.refused", f"GET {PREFIX}/build", None)]
    assert door.throttle.is_free(CLIENT)


async def test_what_a_request_changes_is_asked_of_the_scopes(tmp_path: Path) -> None:
    door = Door(tmp_path)
    robot = {"key": secret_of(b"r2").decode(), "scopes": ["read"]}
    (door.appliance.etc / "api.tokens.json").write_text(json.dumps({"tokens": {"robot": robot}}))

    assert await door.admit(attempt("token=r2"))
    assert (await door.refused(attempt("token=r2", changes=True))).status == 403


async def test_two_kinds_of_credential_are_refused_and_neither_noted_nor_slowed_down(door: Door) -> None:
    both = await door.refused(attempt(GOOD, authorization="Bearer secret"))
    with_signature = signed()
    request: Any = with_signature.request
    request.headers["Authorization"] = "Bearer secret"
    third = await door.refused(with_signature)

    assert (both.status, third.status) == (400, 400)
    assert third.message == "Send one kind of credential: a signature, ?hash=, ?token= or the Authorization header"
    assert door.audit.notes == [] and door.throttle.is_free(CLIENT)


async def test_an_audit_log_that_cannot_be_written_changes_no_refusal(door: Door) -> None:
    door.audit.full = True

    assert (await door.refused(attempt("token=x"))).status == 403


async def test_after_a_wrong_guess_the_right_one_waits_too(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.pause = 0.3
    loop = asyncio.get_running_loop()
    failed, began = door.throttle.failed, []

    def at(address: str) -> None:
        began.append(loop.time())
        failed(address)

    monkeypatch.setattr(door.throttle, "failed", at)
    with sockets() as (ours, _):
        await door.refused(attempt("token=x"))
        assert (await door.admit(connected(attempt(GOOD), ours))).user == "admin"

    assert loop.time() - began[0] >= 0.25


async def test_a_wrong_guess_that_waited_is_noted_and_begins_the_next_pause(door: Door) -> None:
    door.pause = 0.1
    with sockets() as (ours, _):
        await door.refused(attempt("token=x"))
        await door.refused(connected(attempt("token=y"), ours))

    assert len(door.audit.notes) == 2
    assert not door.throttle.is_free(CLIENT)


async def test_whoever_hangs_up_while_waiting_is_given_up(door: Door) -> None:
    with sockets() as (ours, theirs):
        await door.refused(attempt("token=x"))
        waiting = asyncio.ensure_future(door.admit(connected(attempt(GOOD), ours)))
        await asyncio.sleep(0.01)
        theirs.close()
        with pytest.raises(ConnectionResetError, match="hung up"):
            await asyncio.wait_for(waiting, 5)


async def test_too_many_that_wait_are_told_when_to_come_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jidoteki.core.auth.throttle.MAX_WAITING", 0)
    await door.refused(attempt("token=x"))

    error = await door.refused(attempt(GOOD))

    assert (error.status, error.headers) == (429, {"Retry-After": "31"})
    assert len(door.audit.notes) == 1


@contextlib.contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as theirs:
            ours, _ = listening.accept()
            with ours:
                yield ours, theirs


def connected(made: AuthenticationRequest, ours: socket.socket) -> AuthenticationRequest:
    made.request.transport = transport(ours)  # type: ignore[misc]  # of a stand-in
    return made


def transport(end: Any, closing: bool = False) -> Any:
    return SimpleNamespace(get_extra_info={"socket": end}.get, is_closing=lambda: closing)


def test_whether_a_client_hung_up_is_asked_of_the_kernel() -> None:
    def has_gone(transport: Any) -> bool:
        return gates._has_gone(SimpleNamespace(transport=transport))  # type: ignore[arg-type]  # of a stand-in

    with sockets() as (ours, theirs):
        assert has_gone(None)
        assert has_gone(transport(ours, closing=True))
        assert not has_gone(transport(ours))
        theirs.shutdown(socket.SHUT_WR)
        assert has_gone(transport(ours))
        ours.close()
        assert not has_gone(transport(ours)), "nothing is known of it"
    assert not has_gone(transport(None))


# Signatures


async def test_a_signature_lets_in_once(door: Door) -> None:
    made = signed(method="POST", body=b"x")
    found = await door.admit(made)
    assert found.signed is not None
    assert (found.user, found.body_digest) == ("admin", found.signed.digest) and found.body_digest is not None
    assert door.names.refreshed == 1

    error = await door.refused(made)

    assert (error.status, error.message) == (403, "Authentication error")
    assert door.audit.notes == [(CLIENT, "-", "authentication.failure", f"POST {PREFIX}/version", None)]
    assert not door.throttle.is_free(CLIENT)


async def test_a_nonce_is_kept_before_its_request_is_let_in(door: Door) -> None:
    await door.admit(signed())

    assert [each.name for each in door.appliance.etc.glob("nonces-*")]


async def test_a_nonce_that_cannot_be_kept_lets_nobody_in(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr(Nonces, "keep", full)

    assert (await door.refused(signed())).status == 503


async def test_a_key_that_signed_too_much_is_told_when_to_come_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> bool:
        raise TooManyNoncesError

    monkeypatch.setattr(Nonces, "use", full)
    error = await door.refused(signed())

    assert (error.status, error.headers) == (429, {"Retry-After": "300"})
    assert error.message == "This key has signed too many requests within 600 seconds"


@pytest.mark.parametrize("options", [{"token": "guess"}, {"parameters": {"keyid": '"nobody"'}}, {"created": 1.0}])
async def test_a_wrong_signature_is_a_wrong_guess(door: Door, options: dict[str, Any]) -> None:
    error = await door.refused(signed(**options))

    assert (error.status, error.message) == (403, "Authentication error")
    assert not door.throttle.is_free(CLIENT)
    assert door.audit.notes[0][2] == "authentication.failure"


async def test_a_named_token_signs_within_its_scopes_and_uses_up_no_nonce_beyond(door: Door) -> None:
    robot = {"token": "r2", "parameters": {"keyid": '"robot"'}}
    refused = await door.refused(signed(path=f"{PREFIX}/build", **robot))
    assert refused.message == "This token may not do that"
    assert not list(door.appliance.etc.glob("nonces-*"))

    assert (await door.admit(signed(**robot))).user == "robot"


async def test_a_signature_for_another_appliance_is_refused_with_what_to_do_and_not_slowed_down(door: Door) -> None:
    door.names.ours = False
    error = await door.refused(signed())

    assert (error.status, "appliance.example:8443, which is no name of this appliance" in str(error.message)) == (
        403,
        True,
    )
    assert door.names.asked == [(("appliance.example", 8443), ("127.0.0.1", 8443))]
    assert door.throttle.is_free(CLIENT)


@pytest.mark.parametrize("transport", [None, SimpleNamespace(get_extra_info={}.get)])
async def test_a_signature_counts_only_where_it_is_known_for_whom_it_was(door: Door, transport: Any) -> None:
    made = signed()
    made.request.transport = transport  # type: ignore[misc]  # of a stand-in
    assert (await door.refused(made)).status == 403
    odd = signed(host="a b")
    assert (await door.refused(odd)).status == 403


async def test_where_signatures_are_not_accepted_they_are_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path, signatures=False)
    assert (await door.refused(signed())).status == 403
    also = signed(query=GOOD)
    also.client = "192.0.2.8"

    assert (await door.admit(also)).signed is None
    assert door.names.refreshed == 0


# Afterwards


class Routes:
    """One."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def find(self, path: str) -> Any:
        return {"GET": self._found} if self._found and path == "/version" else None


async def test_whoever_was_let_in_may_go_on_while_nothing_changed(door: Door) -> None:
    for made in (attempt(GOOD), attempt("token=r2"), signed()):
        found = await door.admit(made)
        assert door.gate.still_admits(Routes(route()), made, found)  # type: ignore[arg-type]  # of a stand-in


async def test_and_no_longer_once_something_did(door: Door, tmp_path: Path) -> None:
    made, by_hand = attempt("token=r2"), signed()
    robot, admin = await door.admit(made), await door.admit(by_hand)

    def still(
        routes: Routes, made: AuthenticationRequest = made, found: Authenticated = robot, gate: Gate = door.gate
    ) -> bool:
        return gate.still_admits(routes, made, found)  # type: ignore[arg-type]  # of a stand-in

    out_of_service = OutOfService("/version", None)  # type: ignore[arg-type]  # nothing is read of it
    assert still(Routes(route()))
    assert not still(Routes(None)), "nothing is there any more"
    assert not still(Routes(out_of_service))
    assert not still(Routes(route()), attempt("token=r2", "POST")), "another method"
    assert not still(Routes(route("/build"))), "another scope"
    assert still(Routes(route(changes=True)))
    assert not still(Routes(route()), found=Authenticated(Holder(b"old", User("robot", ("GET /version",)))))
    assert not still(Routes(route()), found=Authenticated(Holder(robot.holder.key, User("robot", ("all",)))))
    assert not still(Routes(route()), found=Authenticated(Holder(robot.holder.key, User("gone", ()))))
    unsigned = Door(tmp_path / "other", signatures=False).gate
    assert not still(Routes(route()), by_hand, admin, unsigned), "signatures are not accepted any more"
    assert still(Routes(route()), by_hand, Authenticated(admin.holder), unsigned)

"""Authorization: every route × kind of credential × enabled or not.

The table below names every route. One that it does not know fails the build, and so does one that is gone.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
from faultkit import Tally, ask

from jidoteki.core.config import loading
from jidoteki.core.http.routes import Routes
from jidoteki.core.plugin_manager import manager
from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

# What an authenticated client is answered that sends neither form nor query.
MANDATORY = {
    ("POST", "/setup"): 400,
    ("POST", "/update"): 400,
    ("GET", "/update"): 200,
    ("GET", "/update/log"): 404,
    ("GET", "/logs"): 200,
    ("GET", "/debug"): 200,
    ("GET", "/reboot"): 202,
    ("POST", "/reboot"): 202,
    ("GET", "/services"): 200,
    ("GET", "/version"): 200,
    ("GET", "/changelog"): 200,
    ("GET", "/build"): 200,
    ("GET", "/health"): 200,
    ("GET", "/endpoints"): 200,
    # An optional plugin that is always in service.
    ("GET", "/jobs"): 200,
    ("GET", "/jobs/{id}"): 404,
    ("GET", "/jobs/{id}/log"): 404,
    ("POST", "/jobs/{id}/cancel"): 404,
}
OPTIONAL = {
    ("GET", "/session"): 200,
    ("GET", "/health/history"): 200,
    ("GET", "/metrics"): 200,
    ("GET", "/audit"): 200,
    ("POST", "/settings"): 400,
    ("GET", "/settings"): 404,
    ("POST", "/settings/confirm"): 400,
    ("POST", "/certs"): 400,
    ("GET", "/certs"): 200,
    ("POST", "/certs/confirm"): 400,
    ("POST", "/license"): 400,
    ("GET", "/license"): 200,
    ("POST", "/storage"): 400,
    ("GET", "/storage"): 404,
    ("POST", "/backup"): 400,
    ("GET", "/backup"): 404,
    ("GET", "/backup/download"): 404,
    ("GET", "/backup/log"): 404,
    ("POST", "/backup/restore"): 400,
    ("GET", "/events"): 200,
    ("GET", "/tokens"): 200,
    ("POST", "/tokens"): 400,
    ("POST", "/tokens/revoke"): 400,
    ("POST", "/downloads"): 400,
    ("OPTIONS", "/uploads"): 204,
    ("GET", "/uploads"): 200,
    ("POST", "/uploads"): 412,
    ("GET", "/uploads/{id}"): 404,
    ("PATCH", "/uploads/{id}"): 412,
    ("DELETE", "/uploads/{id}"): 412,
}
TABLE = MANDATORY | OPTIONAL

BUILT_IN = [module.name for module in pkgutil.iter_modules(import_module("jidoteki.plugins").__path__)]

Credential = Callable[[str, str], tuple[str, dict[str, str]]]


def hashed(method: str, path: str, token: str = TOKEN) -> str:
    return f"hash={request_hash(method, PREFIX + path, token)}"


RIGHT: dict[str, Credential] = {
    "token": lambda method, path: (f"token={TOKEN}", {}),
    "hash": lambda method, path: (hashed(method, path), {}),
    "bearer": lambda method, path: ("", {"Authorization": f"Bearer {TOKEN}"}),
    "bearer in lower case": lambda method, path: ("", {"Authorization": f"bearer {TOKEN}"}),
    "right hash beside a wrong token": lambda method, path: (f"token=wrong&{hashed(method, path)}", {}),
}
WRONG: dict[str, Credential] = {
    "none": lambda method, path: ("", {}),
    "empty token": lambda method, path: ("token=", {}),
    "empty hash": lambda method, path: ("hash=", {}),
    "wrong token": lambda method, path: ("token=wrong", {}),
    "token cut short": lambda method, path: (f"token={TOKEN[:-1]}", {}),
    "token with more": lambda method, path: (f"token={TOKEN}x", {}),
    "token with a newline": lambda method, path: (f"token={TOKEN}%0A", {}),
    "token in other case": lambda method, path: (f"token={TOKEN.upper()}", {}),
    "token that is not ASCII": lambda method, path: ("token=%C3%BC%FF", {}),
    "wrong hash": lambda method, path: (f"hash={'0' * 64}", {}),
    "hash of another path": lambda method, path: (hashed(method, f"{path}x"), {}),
    "hash of another method": lambda method, path: (hashed("POST" if method == "GET" else "GET", path), {}),
    "hash of another token": lambda method, path: (hashed(method, path, "wrong"), {}),
    "hash with an empty token": lambda method, path: (hashed(method, path, ""), {}),
    "hash in capitals": lambda method, path: (hashed(method, path).upper().replace("HASH", "hash"), {}),
    "hash cut short": lambda method, path: (hashed(method, path)[:-1], {}),
    "hash of the path without its prefix": lambda method, path: (f"hash={request_hash(method, path, TOKEN)}", {}),
    "the token as hash": lambda method, path: (f"hash={TOKEN}", {}),
    "the hash as token": lambda method, path: (hashed(method, path).replace("hash", "token"), {}),
    "wrong hash beside the right token": lambda method, path: (f"token={TOKEN}&hash=0", {}),
    "wrong bearer": lambda method, path: ("", {"Authorization": "Bearer wrong"}),
    "empty bearer": lambda method, path: ("", {"Authorization": "Bearer "}),
    "basic": lambda method, path: ("", {"Authorization": f"Basic {TOKEN}"}),
    "token without a scheme": lambda method, path: ("", {"Authorization": TOKEN}),
    "token in a header": lambda method, path: ("", {"Token": TOKEN, "Cookie": f"token={TOKEN}"}),
}
AMBIGUOUS: dict[str, Credential] = {
    "bearer and token": lambda method, path: (f"token={TOKEN}", {"Authorization": f"Bearer {TOKEN}"}),
    "bearer and hash": lambda method, path: (hashed(method, path), {"Authorization": f"Bearer {TOKEN}"}),
    "wrong bearer and right token": lambda method, path: (f"token={TOKEN}", {"Authorization": "Bearer wrong"}),
}


@pytest.fixture
def addresses() -> Iterator[str]:
    """Each guess comes from another address, so that none waits for an earlier one."""
    return (f"127.{a}.{b}.{c}" for a in range(1, 100) for b in range(250) for c in range(1, 250))


def routes_of(host: Host) -> set[tuple[str, str]]:
    """The routes of the host as it is configured."""
    loaded = loading.load(host.appliance.configuration)
    found = Routes(manager.load_all(host.appliance, loaded), loaded)
    return {(route.endpoint.method, route.path) for route in found.all()}


def sent(route: tuple[str, str]) -> tuple[str, str]:
    """The method and path of a request for a route, with a name for the parameter that its path may have."""
    return route[0], route[1].replace("{id}", "900000-absent")


def cell(host: Host, route: tuple[str, str], credential: Credential, source: str) -> int:
    query, headers = credential(*sent(route))
    return ask(host, *sent(route), query="&".join(each for each in (query, "dry-run=1") if each), headers=headers,
               source=source).status  # fmt: skip


def test_the_table_knows_every_route(jidoteki_host: MakeHost, tally: Tally) -> None:
    host = jidoteki_host(start=False, endpoints=BUILT_IN)

    routes = routes_of(host)

    tally.case(routes == set(TABLE), f"only in the table or only served: {routes ^ set(TABLE)}")
    assert tally.failed == []


def test_every_cell_of_an_appliance_with_everything_enabled(
    jidoteki_host: MakeHost, addresses: Iterator[str], tally: Tally
) -> None:
    host = jidoteki_host(start=False, endpoints=BUILT_IN).start("--http-port", "0")

    for route, status in TABLE.items():
        for kind, credential in RIGHT.items():
            got = cell(host, route, credential, next(addresses))
            tally.case(got == status, f"{route} {kind}: {got} instead of {status}")
        for kind, credential in WRONG.items():
            got = cell(host, route, credential, next(addresses))
            tally.case(got == 403, f"{route} {kind}: {got} instead of 403")
        for kind, credential in AMBIGUOUS.items():
            got = cell(host, route, credential, next(addresses))
            tally.case(got == 400, f"{route} {kind}: {got} instead of 400")

    assert tally.failed == []


def test_every_cell_of_an_appliance_with_nothing_enabled(
    jidoteki_host: MakeHost, addresses: Iterator[str], tally: Tally
) -> None:
    host = jidoteki_host(start=False, endpoints=[], plugins={"dashboard": {"enabled": False}})
    host.start("--http-port", "0")
    one_of_each = {"right": RIGHT["hash"], "wrong": WRONG["wrong token"], "none": WRONG["none"]}

    for route in OPTIONAL:
        for kind, credential in one_of_each.items():
            got = cell(host, route, credential, next(addresses))
            tally.case(got == 404, f"{route} disabled, {kind}: {got} instead of 404")
    for route, status in MANDATORY.items():
        for kind, expected in {"right": status, "wrong": 403, "none": 403}.items():
            got = cell(host, route, one_of_each[kind], next(addresses))
            tally.case(got == expected, f"{route} {kind}: {got} instead of {expected}")

    assert tally.failed == []


@pytest.mark.parametrize("content", [None, "", "\n", " \n", "has space\n", "x" * 256 + "\n", "nul\0\n", "a\nb\n"])
def test_without_a_usable_token_nobody_gets_in(
    jidoteki_host: MakeHost, addresses: Iterator[str], tally: Tally, content: str | None
) -> None:
    host = jidoteki_host(token=content and "replaced", start=False, endpoints=BUILT_IN)
    if content is not None:
        host.appliance.replace_file(host.appliance.etc / "api.token", content, 0o600)
    host.start("--http-port", "0")
    guesses: dict[str, Credential] = {
        "none": WRONG["none"],
        "hash with an empty token": WRONG["hash with an empty token"],
        "hash with the content": lambda method, path: (hashed(method, path, content or ""), {}),
        "empty token": WRONG["empty token"],
        "empty bearer": WRONG["empty bearer"],
    }

    for route in TABLE:
        for kind, guess in guesses.items():
            first_setup = content is None and route == ("POST", "/setup")
            got = cell(host, route, guess, next(addresses))
            tally.case(got == (400 if first_setup else 403), f"{content!r} {route} {kind}: {got}")

    assert tally.failed == []


def test_while_the_first_run_is_pending_only_setup_takes_the_passphrase(
    jidoteki_host: MakeHost, addresses: Iterator[str], tally: Tally
) -> None:
    host = jidoteki_host(token=None, first_run={"enabled": True, "word-length": 4}, start=False, endpoints=BUILT_IN)
    host.start("--http-port", "0")
    passphrase = (host.appliance.etc / "api.token.setup").read_text().strip()

    for route in TABLE:
        for kind, expected in {passphrase: 400 if route == ("POST", "/setup") else 403, "wrong": 403}.items():
            got = ask(host, *sent(route), query=f"token={kind}&dry-run=1", source=next(addresses))
            tally.case(got.status == expected and b'"First-Run":true' in got.body, f"{route}: {got}")

    assert tally.failed == []


CHANGES = {route for route in TABLE if route[0] in ("POST", "PATCH", "DELETE")} | {("GET", "/reboot")}
RESERVED = {route for route in TABLE if route[1].startswith(("/setup", "/tokens"))}
OPEN = {("GET", "/session"), ("POST", "/downloads")} & set(TABLE)
SCOPES = {
    "all": set(TABLE) - RESERVED,
    "read": set(TABLE) - RESERVED - CHANGES,
    "/backup": {route for route in TABLE if route[1].startswith("/backup")},
    "GET /update": {("GET", "/update"), ("GET", "/update/log")},
    "/jobs": {route for route in TABLE if route[1].startswith("/jobs")},
    "/setup": set(),
    "/tokens": set(),
}


def test_a_named_token_opens_what_its_scope_says_and_nothing_else(
    jidoteki_host: MakeHost, addresses: Iterator[str], tally: Tally
) -> None:
    host = jidoteki_host(start=False, endpoints=BUILT_IN, authentication={"named-tokens": True})
    tokens = {f"name{number}": (scope, f"named-token-{number}") for number, scope in enumerate(SCOPES)}
    stored = {
        name: {"key": hashlib.sha256(token.encode()).hexdigest(), "scopes": [scope], "created": 0}
        for name, (scope, token) in tokens.items()
    }
    host.appliance.replace_file(host.appliance.etc / "api.tokens.json", json.dumps({"tokens": stored}), 0o600)
    host.start("--http-port", "0")

    for scope, token in tokens.values():
        for route, status in TABLE.items():
            expected = status if route in SCOPES[scope] | OPEN else 403
            for query in (f"token={token}", hashed(*sent(route), token)):
                got = ask(host, *sent(route), query=f"{query}&dry-run=1", source=next(addresses)).status
                tally.case(got == expected, f"{route} with scope {scope}: {got} instead of {expected}")

    assert tally.failed == []

"""Named tokens in addition to the administrator's: each has scopes and can be revoked.

They are valid if the configuration contains `"authentication": {"named-tokens": true}`; only the administrator's own
token may use these endpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import (
    DONE,
    ApiError,
    Appliance,
    Described,
    Endpoint,
    Finding,
    Label,
    Request,
    Response,
    differences,
    hookimpl,
)
from jidoteki.plugins.tokens import checking, effective_scopes
from jidoteki.plugins.tokens.store import Store
from jidoteki.plugins.tokens.validators import expires, name, scopes

_SCOPES = {"type": "array", "items": {"type": "string"}}
LISTED = Described(
    "The named tokens",
    {
        "type": "object",
        "required": ["tokens"],
        "properties": {
            "tokens": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["scopes", "created"],
                    "properties": {
                        "scopes": _SCOPES,
                        "created": {"type": "integer", "description": "Seconds since the epoch"},
                        "expires": {"type": "integer", "description": "Seconds since the epoch; without it, never"},
                    },
                },
            }
        },
    },
    ({"tokens": {"monitor": {"scopes": ["read"], "created": 1432140922}}},),
)
MADE = Described(
    "The token, shown this once; for a dry run, the status",
    {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "token": {"type": "string"},
            "scopes": _SCOPES,
            "expires": {"type": "integer"},
            "changes": differences.SCHEMA,
            "warnings": {"type": "array", "items": {"type": "string"}, "description": "Which scopes allow nothing"},
        },
    },
    ({"name": "monitor", "token": "dGhpcyBpcyBubyByZWFsIHRva2Vu", "scopes": ["read"]},),
)

NAME = vol.Required("name", description=Label("Name"))


class Handlers:
    """The handlers of one appliance."""

    def __init__(self, appliance: Appliance) -> None:
        self._store = Store(appliance)

    async def list(self, request: Request) -> Response:
        """Return the names, scopes and times of creation."""
        return {"tokens": await asyncio.to_thread(self._store.described)}

    async def add(self, request: Request) -> Response:
        """Create a token and return it, this once."""
        if not request.host_config["authentication"]["named-tokens"]:
            raise ApiError(400, f"{checking.OFF.capitalize()}; set it to true and reload the service first")
        wanted = request.values
        # No errors: an endpoint may be enabled later.
        faults = (effective_scopes.fault(scope, request.endpoints) for scope in wanted["scopes"])
        warnings = [f"scopes: {fault}" for fault in faults if fault]
        more: dict[str, Any] = {"warnings": warnings} if warnings else {}
        if request.dry_run:
            await asyncio.to_thread(self._store.check_new, wanted["name"])
            new = {key: wanted[key] for key in ("scopes", "expires") if key in wanted}
            changes = differences.between(await self._described(wanted["name"]), new, f"users.{wanted['name']}")
            return {"Status": "200 OK", **more, "changes": changes}
        try:
            token = await asyncio.to_thread(self._store.add, wanted["name"], wanted["scopes"], wanted.get("expires"))
        except OSError as error:
            raise ApiError(400, f"The token cannot be stored: {error.strerror or error}") from error
        if "expires" in wanted:
            more["expires"] = wanted["expires"]
        return {"name": wanted["name"], "token": token, "scopes": wanted["scopes"], **more}

    async def revoke(self, request: Request) -> Response:
        """Revoke a token, effective immediately."""
        name = request.values["name"]
        if request.dry_run:
            await asyncio.to_thread(self._store.check_known, name)
            former = await self._described(name)
            return {"Status": "200 OK", "changes": differences.between(former, None, f"users.{name}")}
        try:
            await asyncio.to_thread(self._store.revoke, name)
        except OSError as error:
            raise ApiError(400, f"The token cannot be revoked: {error.strerror or error}") from error
        return {"Status": "200 OK"}

    async def _described(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = (await asyncio.to_thread(self._store.described)).get(name)
        return found


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    handlers = Handlers(appliance)
    return [
        Endpoint("GET", "/tokens", handlers.list, responses={200: LISTED}, summary="List the named tokens"),
        Endpoint(
            "POST",
            "/tokens",
            handlers.add,
            parameters={
                NAME: name,
                vol.Required("scopes", description=Label("Scopes")): scopes,
                vol.Optional("expires", description=Label("Expires")): expires,
            },
            responses={200: MADE, 400: "The name or a scope is not valid"},
            summary="Make a named token",
            examples={"For monitoring": {"name": "monitor", "scopes": "read"}},
            persist=True,
        ),
        Endpoint(
            "POST",
            "/tokens/revoke",
            handlers.revoke,
            parameters={NAME: name},
            responses={
                200: Described("It is worthless now", DONE, ({"Status": "200 OK"},)),
                404: "There is no such token",
            },
            summary="Revoke a named token",
            persist=True,
        ),
    ]


@hookimpl
def jidoteki_check(host_config: Mapping[str, Any]) -> list[Finding]:
    """Return a finding if named tokens are not enabled."""
    return list(checking.check(host_config))

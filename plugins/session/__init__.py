"""`GET /session`: the name, scopes and expiry of the client's credential."""

from __future__ import annotations

from jidoteki.hookspecs import Appliance, Described, Endpoint, Request, Response, hookimpl

SHOWN = Described(
    "Who asks",
    {
        "type": "object",
        "required": ["name", "administrator", "scopes", "expires"],
        "properties": {
            "name": {"type": "string", "description": "As in the audit log"},
            "administrator": {"type": "boolean", "description": "Whether nothing is closed to it"},
            "scopes": {"type": "array", "items": {"type": "string"}},
            "expires": {"type": ["integer", "null"], "description": "Seconds since the epoch; null for no end"},
        },
    },
    ({"name": "monitor", "administrator": False, "scopes": ["read"], "expires": 1795812000},),
)


async def show(request: Request) -> Response:
    """Return the properties of the credential, but not the credential itself."""
    caller = request.caller
    return {
        "name": caller.name,
        "administrator": caller.scopes is None,
        "scopes": ["all"] if caller.scopes is None else list(caller.scopes),
        "expires": caller.expires,
    }


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [Endpoint("GET", "/session", show, responses={200: SHOWN}, summary="Whose credential this is")]

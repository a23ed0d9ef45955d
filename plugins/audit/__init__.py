"""`GET /audit`: the audit log as JSON, the newest line first, in pages."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import (
    ApiError,
    Appliance,
    Described,
    Endpoint,
    Label,
    Request,
    Response,
    audit_log,
    hookimpl,
    validators,
)
from jidoteki.plugins.audit import reading

DEFAULT: Final = 100
_LIMIT: Final = "[1-9][0-9]{0,2}|1000"
_LINE: Final[dict[str, Any]] = {
    "time": 1432140922.123456,
    "id": "4f6a5f6b7d8e9f00",
    "client": "192.168.1.7",
    "user": "admin",
    "action": "request.done",
    "target": "POST /api/v1/admin/settings 202 000042-settings",
    "position": "131090-5120-0a1b2c3d",
}
LISTED: Final = Described(
    "The lines; `next` is what the parameter `before` of the next page is, null where nothing follows",
    {
        "type": "object",
        "required": ["audit", "next"],
        "properties": {
            "audit": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": list(_LINE),
                    "properties": {
                        name: {"type": "number" if name == "time" else "string", "description": description}
                        for name, description in {
                            "time": "Seconds since the epoch",
                            "id": "The same for the lines before and after a change",
                            "client": "The address that the request came from",
                            "user": "Whose token it was",
                            "action": "What was done",
                            "target": "To what, and with which outcome",
                            "position": "Where the line is, for the parameter `before`",
                        }.items()
                    },
                },
            },
            "next": {"type": ["string", "null"]},
        },
    },
    ({"audit": [_LINE], "next": "131090-5120-0a1b2c3d"},),
)


@validators.described({"type": "string", "pattern": f"^({_LIMIT})$", "description": "How many at most; 100 by default"})
def limit(value: str) -> int:
    """Accept the maximum number of lines in a page."""
    if not re.fullmatch(_LIMIT, value):
        raise vol.Invalid("must be a number from 1 to 1000")
    return int(value)


@validators.described({"type": "string", "description": "Only what is older: `next` of a page, `position` of a line"})
def position(value: str) -> str:
    """Accept a text in the format of a line's position."""
    if not reading.is_position(value):
        raise vol.Invalid("must be what an answer gave as next, or as position")
    return value


async def show(request: Request) -> Response:
    """Return a page of the log."""
    path, wanted = request.appliance.log / audit_log.FILE, request.values
    try:
        page = await asyncio.to_thread(reading.page, path, wanted.get("before"), wanted.get("limit", DEFAULT))
    except reading.PositionGoneError as error:
        raise ApiError(410, "That part of the log is not there any more: begin again without before") from error
    lines = [
        {
            "time": line.time,
            "id": line.id,
            "client": line.client,
            "user": line.user,
            "action": line.action,
            "target": line.target,
            "position": place,
        }
        for place, line in page.lines
    ]
    return {"audit": lines, "next": page.following}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [
        Endpoint(
            "GET",
            "/audit",
            show,
            parameters={
                vol.Optional("limit", description=Label("Lines")): limit,
                vol.Optional("before", description=Label("Before")): position,
            },
            responses={200: LISTED, 400: "A parameter is wrong", 410: "The log has been turned over since"},
            summary="The audit log, newest line first",
        )
    ]

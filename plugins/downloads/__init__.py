"""`POST /downloads`: creates a URL that works once, within a minute, and contains no credential.

A browser can save gigabytes from it, which a script in a page would have to keep in memory.
"""

from __future__ import annotations

import re
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import (
    PREFIX,
    ApiError,
    Appliance,
    Described,
    Endpoint,
    Label,
    Request,
    Response,
    differences,
    hookimpl,
    validators,
)

SECONDS: Final = 60
PATH: Final = Label("Download", "The path of a download, such as /backup/download")
FILENAME: Final = Label("File name", "What the file is called, in place of its usual name")
_PATH = re.compile(r"(?:/[A-Za-z0-9._-]{1,128}){1,8}")
MADE = Described(
    "An address that works once; for a dry run, the status",
    {
        "type": "object",
        "properties": {
            "url": {"type": "string", "description": "Below https://HOST:PORT"},
            "changes": differences.SCHEMA,
            "seconds": {"type": "integer", "description": "How long it waits for its use"},
        },
    },
    ({"url": f"{PREFIX}/backup/download?ticket=Zm9yIG9uY2UgYW5kIG5vdCBmb3IgZXZlcg", "seconds": SECONDS},),
)


@validators.described({"type": "string", "pattern": "^(/[A-Za-z0-9._-]{1,128}){1,8}$"})
def path(value: Any) -> str:
    """Accept the path of an endpoint, with or without the prefix, and return it without."""
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise vol.Invalid("must be the path of a download, such as /backup/download, without a query")
    return value.removeprefix(PREFIX) or value


filename = validators.Text("A-Za-z0-9._-", 1, 128, "up to 128 letters, digits, '.', '_' and '-'")


async def make(request: Request) -> Response:
    """Return the URL."""
    wanted = request.values["path"]
    try:
        await request.check_download(wanted)
        ticket = request.issue_ticket(wanted, SECONDS, request.values.get("filename", ""))
    except ApiError as error:
        if error.status in (400, 404):
            error.field = "/path"
        raise
    if request.dry_run:
        return {"Status": "200 OK", "changes": []}
    return {"url": f"{PREFIX}{wanted}?ticket={ticket}", "seconds": SECONDS}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [
        Endpoint(
            "POST",
            "/downloads",
            make,
            parameters={
                vol.Required("path", description=PATH): path,
                vol.Optional("filename", description=FILENAME): filename,
            },
            responses={200: MADE, 400: "That is no download", 404: "There is no such path, or nothing to download yet"},
            summary="Make an address from which a browser can download, once",
            examples={"The backup": {"path": "/backup/download"}},
        )
    ]

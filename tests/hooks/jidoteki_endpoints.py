"""An endpoint that reads and one that changes a note; the change is audited, and a dry run changes nothing."""

import asyncio

import voluptuous as vol

from jidoteki.hookspecs import ApiError, Appliance, Endpoint, Request, Response, TextResponse, hookimpl, validators

NOTE = validators.Text("a-zA-Z0-9 .,-", 1, 80, "1 to 80 letters, digits, spaces, '.', ',' and '-'")


async def show(request: Request) -> Response:
    note = await asyncio.to_thread(request.appliance.read_text, request.appliance.etc / "note.txt")
    if note is None:
        raise ApiError(404, "There is no note", code="NOTE1")
    return TextResponse(note)


async def change(request: Request) -> Response:
    if not request.dry_run:
        path = request.appliance.etc / "note.txt"
        await asyncio.to_thread(request.appliance.replace_file, path, request.values["note"])
    return {"Status": "200 OK"}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [
        Endpoint("GET", "/note", show, responses={200: "The note", 404: "There is none"}, summary="Read the note"),
        Endpoint("PUT", "/note", change, parameters={vol.Required("note"): NOTE}, summary="Change the note"),
    ]

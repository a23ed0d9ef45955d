"""A screen for an endpoint that keeps a reminder: what it says, and a form that changes it."""

from __future__ import annotations

import voluptuous as vol

from jidoteki.hookspecs import (
    Appliance,
    Endpoint,
    FormPart,
    Request,
    Response,
    Screen,
    StatusPart,
    hookimpl,
    validators,
)

TEXT = validators.Text("a-zA-Z0-9 .,-", 1, 80, "1 to 80 letters, digits, spaces, '.', ',' and '-'")
reminder = {"text": "Nothing yet"}


async def show(request: Request) -> Response:
    return dict(reminder)


async def change(request: Request) -> Response:
    if not request.dry_run:
        reminder["text"] = request.values["text"]
    return {"Status": "200 OK"}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    parameters = {vol.Required("text"): TEXT}
    return [Endpoint("GET", "/reminder", show), Endpoint("POST", "/reminder", change, parameters=parameters)]


@hookimpl
def jidoteki_screens(appliance: Appliance) -> list[Screen]:
    titles = {"text": "What to remember"}
    parts = (
        StatusPart("/reminder", title="The reminder", titles=titles),
        FormPart("/reminder", title="Another one", titles=titles, action="Keep it", done="It is kept."),
    )
    return [Screen("reminder", "Reminder", parts, group="Notes", summary="For whoever comes next.")]

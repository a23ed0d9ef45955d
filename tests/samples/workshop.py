"""A one-file plugin with a form of all kinds of fields, screens of its own, and two modules, one of which fails."""

from __future__ import annotations

import json
import time
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import (
    ApiError,
    Appliance,
    ChartPart,
    Described,
    Document,
    Endpoint,
    FormPart,
    Job,
    JobError,
    JobType,
    LogPart,
    Page,
    Request,
    Response,
    Screen,
    StatusPart,
    TablePart,
    TextPart,
    TextResponse,
    Upload,
    hookimpl,
    validators,
)
from jidoteki.hookspecs.validators import Text, json_document, strict, variants

MARKUP = "<img src=x onerror=alert(1)>"
sent: dict[str, Any] = {}

NAME = Text("a-zA-Z0-9 -", 2, 40, "2 to 40 letters, digits, spaces and '-'")


@validators.described({"type": "string", "writeOnly": True, "title": "Pass phrase"})
def secret(value: str) -> str:
    return value


@validators.described({"type": "boolean", "description": "Whether it is loud"})
def loud(value: str) -> bool:
    return value == "true"


@validators.described({"type": "integer", "minimum": 1, "maximum": 9})
def size(value: str) -> int:
    if not value.isdigit() or not 1 <= int(value) <= 9:
        raise vol.Invalid("must be a number from 1 to 9")
    return int(value)


@validators.described({"type": "array", "items": {"type": "string", "title": "Host"}})
def hosts(value: Any) -> Any:
    return value


DETAILS = json_document(
    strict(
        {
            vol.Required("engine"): variants(
                "type", {"steam": {vol.Required("pressure"): NAME}, "water": {vol.Required("river"): NAME}}
            ),
            vol.Optional("hosts"): hosts,
        }
    )
)


async def take(request: Request) -> Response:
    values = dict(request.values)
    if values.get("name") == "refused":
        raise ApiError(400, "This name is taken already", field="/name")
    picture = values.pop("picture", None)
    sent.clear()
    sent.update(json.loads(json.dumps(values)), picture=picture.size if picture else None)
    return {"Status": "200 OK", "made": "one tool"}


async def last(request: Request) -> Response:
    return {"sent": json.dumps(sent, sort_keys=True)}


async def overview(request: Request) -> Response:
    return {"name": "Lathe", MARKUP: MARKUP, "on": True, "tags": ["a", "b"], "place": {"room": "2"}}


async def tools(request: Request) -> Response:
    return {"tools": [{"name": "Hammer", "count": 3}, {"name": MARKUP, "count": 0}]}


async def log(request: Request) -> Response:
    return TextResponse(f"first line\n{MARKUP}\n")


async def nothing(request: Request) -> Response:
    raise ApiError(404, "There is none yet")


async def book(request: Request) -> Response:
    return {"title": f"On {request.values['name']}"}


async def remove(request: Request) -> Response:
    sent.clear()
    return {"Status": "200 OK"}


async def work(request: Request) -> Response:
    return await request.start_job("work", how=request.values["how"])


def run(job: Job) -> None:
    job.log(f"Working {MARKUP}")
    for step in range(30 if job.input["how"] == "slowly" else 1):
        job.progress(step * 3)
        time.sleep(0.3)
    if job.input["how"] == "badly":
        raise JobError(f"It broke {MARKUP}", code="WORK1")


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    return [JobType("work", run=run, cancellable=True)]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    fields = {
        vol.Required("name", description="What it is called"): NAME,
        vol.Required("colour"): vol.In(["red", "green"]),
        vol.Optional("loud"): loud,
        vol.Optional("size"): size,
        vol.Optional("secret"): secret,
        vol.Optional("picture"): Upload(),
        vol.Optional("details"): Document(DETAILS),
    }
    how = {vol.Required("how"): vol.In(["well", "badly", "slowly"])}
    text = {200: Described("The log", media="text/plain")}
    return [
        Endpoint("GET", "/bench", overview, summary="How the bench is"),
        Endpoint("POST", "/bench", take, parameters=fields, summary="Make a tool"),
        Endpoint("GET", "/bench/last", last),
        Endpoint("GET", "/bench/log", log, responses=text),
        Endpoint("GET", "/bench/none", nothing),
        Endpoint("GET", "/bench/books/{name}", book, parameters={vol.Required("name"): str}, summary="Look for a book"),
        Endpoint("DELETE", "/bench/last", remove, summary="Forget what was sent"),
        Endpoint("GET", "/tools", tools),
        Endpoint("POST", "/tools", work, parameters=how, starts="work"),
        Endpoint("GET", "/tools/log", log),
        Endpoint("GET", "/dial", overview),
        Endpoint("GET", "/broken", overview),
    ]


MODULE = b"""
export async function page(root, { render, html, call, t, signal, title }) {
  const found = await call("GET", "/dial");
  render(html`<section class="card"><h2>${t("From a module")}</h2><p id="found">${found.name}</p></section>`);
}
"""
BROKEN = b"""
export async function page() {
  throw new Error("planted-failure");
}
"""


@hookimpl
def jidoteki_pages(appliance: Appliance) -> list[Page]:
    kind = "text/javascript; charset=utf-8"
    return [
        Page("/dashboard/plugins/workshop/1/dial.js", MODULE, kind, immutable=True),
        Page("/dashboard/plugins/workshop/1/broken.js", BROKEN, kind, immutable=True),
    ]


@hookimpl
def jidoteki_screens(appliance: Appliance) -> list[Screen]:
    parts = (
        TextPart(f"Tools are here.\n\n{MARKUP}", title="About"),
        FormPart("/tools", title="Work", titles={"how": "In which way"}, action="Begin", done="All is made."),
        TablePart("/tools", title="All tools", rows="tools", columns={"count": "How many", "name": "Tool"}),
        StatusPart("/dial", title="Facts", titles={"on": "Switched on"}),
        LogPart("/tools/log", title="What happened"),
        ChartPart({"memory": "In use"}, title="Memory", unit="percent"),
    )
    return [
        Screen("tools", f"Tools {MARKUP}", parts, group="Workshop", order=2, summary="All that there is."),
        Screen("dial", "Dial", path="/dial", group="Workshop", order=1, module="/dashboard/plugins/workshop/1/dial.js"),
        Screen("broken", "Broken", path="/broken", group="Workshop", module="/dashboard/plugins/workshop/1/broken.js"),
    ]

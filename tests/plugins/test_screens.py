"""Screens that plugins describe: how the OpenAPI document tells them, and what of them is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from places import SAMPLES

from jidoteki.testing import Host, MakeHost, wait_until

WORKSHOP = SAMPLES / "workshop.py"
PLUGIN = """
from jidoteki.hookspecs import *

async def show(request):
    return {{}}

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("GET", "/lamp", show), Endpoint("GET", "/other", show)]

@hookimpl
def jidoteki_pages(appliance):
    return [Page("/dashboard/plugins/lamp/page.js", b"export const page = () => {{}};", "text/javascript")]

@hookimpl
def jidoteki_screens(appliance):
    return {screens}
"""


def public(host: Host, path: str) -> str:
    argv = ["curl", "-sS", "--fail", "--cacert", str(host.certificate), host.url + path]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def document(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(public(host, "/docs/openapi.json"))
    return found


def screens(host: Host) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in document(host).get("x-jidoteki-screens", [])}


def lamp(make_host: MakeHost, tmp_path: Path, described: str) -> Host:
    """Return a host with a plugin that describes some screens."""
    plugin = tmp_path / "lamp.py"
    plugin.write_text(PLUGIN.format(screens=described))
    host = make_host(load=[plugin], start=False, endpoints=["lamp", "other"], parameters=None)
    return host.start()


def reason(host: Host) -> str:
    log = (host.appliance.log / "jidoteki-admin-api.log").read_text()
    return next((line for line in log.splitlines() if "The plugin lamp is left out" in line), "")


def test_document_tells_screens_with_all_their_parts(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(load=[WORKSHOP], enable=("bench", "tools", "dial", "broken"), parameters=None)

    found = screens(host)
    tools = found["tools"]
    assert (tools["plugin"], tools["group"], tools["order"], tools["path"]) == ("workshop", "Workshop", 2, "/tools")
    assert [part["kind"] for part in tools["parts"]] == ["text", "form", "table", "status", "log", "chart"]
    form, table = tools["parts"][1:3]
    assert (form["method"], form["path"], form["titles"]) == ("POST", "/tools", {"how": "In which way"})
    assert (table["method"], table["rows"], list(table["columns"])) == ("GET", "tools", ["count", "name"])
    assert found["dial"]["module"] == "/dashboard/plugins/workshop/1/dial.js"
    assert "export async function page" in public(host, found["dial"]["module"])


def test_screen_is_told_only_while_its_endpoint_is_served(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(load=[WORKSHOP], enable=("bench", "dial"), parameters=None)
    assert set(screens(host)) == {"dial"}

    host.configure(endpoints=["tools"])
    host.reload()
    assert set(screens(host)) == {"tools"}


def test_document_has_no_word_of_screens_where_there_are_none(jidoteki_host: MakeHost) -> None:
    assert "x-jidoteki-screens" not in document(jidoteki_host())


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ("'lamp'", "jidoteki_screens must return a list of Screen"),
        ("['lamp']", "jidoteki_screens must return a list of Screen"),
        ("[Screen('Lamp', 'Lamp', (StatusPart('/lamp'),))]", "lower-case letters"),
        ("[Screen('../x', 'Lamp', (StatusPart('/lamp'),))]", "lower-case letters"),
        ("[Screen('lamp', 'Lamp', ('status',))]", "parts must be a tuple of parts"),
        ("[Screen('lamp', 'Lamp', [StatusPart('/lamp')])]", "parts must be a tuple of parts"),
        ("[Screen('lamp', 7, (StatusPart('/lamp'),))]", "its texts must be strings"),
        ("[Screen('lamp', 'Lamp', (StatusPart('/lamp', titles={'a': 1}),))]", "its texts must be strings"),
        ("[Screen('lamp', 'x' * 10_001, (StatusPart('/lamp'),))]", "its texts must be strings"),
        ("[Screen('lamp', 'Lamp', (StatusPart('/lamp'),), order='first')]", "order must be a number"),
        ("[Screen('lamp', 'Lamp', (FormPart('/lamp', method='GET'),))]", "the method of a form is one of POST"),
        ("[Screen('lamp', 'Lamp', (ChartPart({'load': 'Load'}, unit='miles'),))]", "the unit of a chart is one of"),
        ("[Screen('lamp', 'Lamp', (TextPart('Hello'),))]", "it needs a part with a path"),
        ("[Screen('lamp', 'Lamp', path='/lamp')]", "it needs parts, or a module"),
        ("[Screen('lamp', 'Lamp', path='/lamp', module='https://x.example/a.js')]", "its module must lie below"),
        ("[Screen('lamp', 'Lamp', path='/lamp', module='/dashboard/plugins/other/a.js')]", "its module must lie below"),
        ("[Screen('lamp', 'Lamp', path='/lamp', module='/dashboard/plugins/lamp/no.js')]", "has no page"),
        ("[Screen('lamp', 'Lamp', (StatusPart('/lamp'),))] * 2", "there is another screen of this name"),
        ("[Screen('lamp', 'Lamp', (StatusPart('/lamp'),))] * 101", "more than 100 screens"),
    ],
)
def test_wrong_screen_leaves_its_plugin_out_and_says_why(
    jidoteki_host: MakeHost, tmp_path: Path, described: str, told: str
) -> None:
    host = lamp(jidoteki_host, tmp_path, described)

    wait_until(lambda: told in reason(host))
    assert host.get("/lamp").status == 503
    assert host.get("/version").status == 200


def test_hook_that_raises_costs_its_screens_alone(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = lamp(jidoteki_host, tmp_path, "1 / 0")

    assert host.get("/lamp").status == 200
    assert screens(host) == {}


def test_right_screen_and_a_module_are_taken(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    module = "/dashboard/plugins/lamp/page.js"
    host = lamp(
        jidoteki_host,
        tmp_path,
        f"[Screen('lamp', 'Lamp', (StatusPart('/lamp'),)), Screen('two', 'Two', path='/other', module='{module}')]",
    )

    assert reason(host) == ""
    assert set(screens(host)) == {"lamp", "two"}

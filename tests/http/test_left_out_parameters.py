"""Required parameters that `parameters` in the configuration leaves out: the handler is not called without them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND

PLUGIN = """
from jidoteki.hookspecs import *
import voluptuous as vol

async def handler(request):
    return {"given": sorted(request.values.items())}

@hookimpl
def jidoteki_endpoints(appliance):
    needed = {vol.Required("host"): str, vol.Optional("count"): str}
    return [
        Endpoint("POST", "/probe", handler, parameters=needed),
        Endpoint("GET", "/probe", handler, parameters=needed),
        Endpoint("POST", "/probe/stream", handler, parameters=needed, body="application/octet-stream"),
        Endpoint("GET", "/probe/default", handler, parameters={vol.Required("host", default="localhost"): str}),
        Endpoint("POST", "/probe/default", handler, parameters={vol.Required("host", default="localhost"): str}),
    ]
"""
REASON = "'parameters' in the configuration does not list it"


@pytest.mark.parametrize(
    ("method", "path", "arguments", "query"),
    [
        ("POST", "/probe", (), ""),
        ("POST", "/probe", ("-F", "count=1"), ""),
        ("POST", "/probe", ("-F", "host=localhost"), ""),
        ("GET", "/probe", (), ""),
        ("GET", "/probe", (), "count=1"),
        ("GET", "/probe", (), "host=localhost"),
        ("POST", "/probe/stream", ("-H", "Content-Type: application/octet-stream", "-d", "x"), ""),
    ],
)
def test_a_request_cannot_do_without_it(
    jidoteki_host: MakeHost, tmp_path: Path, method: str, path: str, arguments: tuple[str, ...], query: str
) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host = jidoteki_host(load=(plugin,), enable=("probe",), parameters=["count"])

    answer = host.curl(method, path, *arguments, query=query)

    assert answer.status == 400
    assert answer.json["error-field"] == "/host"
    assert REASON in answer.json["Error-Message"]
    assert "Traceback" not in host.errors()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_its_default_counts(jidoteki_host: MakeHost, tmp_path: Path, method: str) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host = jidoteki_host(load=(plugin,), enable=("probe",), parameters=["count"])

    assert host.curl(method, "/probe/default").json == {"given": [["host", "localhost"]]}


def test_the_check_says_the_same(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host = jidoteki_host(load=(plugin,), enable=("probe",), parameters=["count"])

    argv = [*COMMAND, "check", "--root", str(host.appliance.root)]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    assert "without which POST /probe always answers 400" in said
    assert "/probe/default always" not in said

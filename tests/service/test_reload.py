"""A configuration that is reloaded with mistakes in it."""

from __future__ import annotations

import http.client
import signal
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import wait_until
from jidoteki.testing.fixtures import MakeHost

ECHO = """
from jidoteki.hookspecs import Endpoint, hookimpl

async def show(request):
    return {"refresh": request.host_config["health"]["refresh"]}

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("GET", "/echo", show, responses={200: "The settings"}, summary="Show")]
"""
SLOW = ECHO.replace("echo", "slow") + "import time; time.sleep(2)\n"

BROKEN: dict[str, dict[str, Any]] = {
    "no list of endpoints": {"endpoints": "settings"},
    "a list of other things": {"endpoints": [1]},
    "no list of parameters": {"parameters": 5},
    "no section": {"commands": "sync"},
    "a wrong key of a section": {"commands": {"persist": "sync"}},
    "plugins that are no object": {"plugins": []},
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("restarted", [False, True], ids=["reload", "start"])
def test_what_is_wrong_stays_as_it_was(jidoteki_host: MakeHost, kind: str, restarted: bool) -> None:
    host = jidoteki_host(commands={"persist": ["/bin/true"]}, parameters=["settings", "action"])
    before = host.get("/endpoints").json
    assert "/api/v1/admin/settings" in before["endpoints"]

    host.configure(**BROKEN[kind])
    if restarted:
        host.stop()
        host.start()
    else:
        host.reload()
        host.reload()

    assert host.get("/endpoints").json == before
    switched_off = host.post("/certs", "-F", "public=x", query="dry-run=1")
    assert "'parameters' in the configuration does not list it" in switched_off.json["Error-Message"]
    log = host.appliance.log / "jidoteki-admin-api.log"
    wait_until(lambda: "Configuration: " in log.read_text())
    assert restarted or "what is wrong in it stays as it was" in log.read_text()


def test_what_is_right_beside_a_mistake_counts(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(limits={"upload": 1000, "idle-body": 7})

    host.configure(limits={"upload": "many", "idle-body": 8}, endpoints=["storage"])
    host.reload()

    assert "/api/v1/admin/settings" not in host.get("/endpoints").json["endpoints"]
    too_long = host.post("/update", "-F", f"update=@{__file__}", query="dry-run=1")
    assert "1000 bytes" in too_long.json["Error-Message"]


def test_a_new_configuration_is_in_force_as_a_whole(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    for name, content in (("echo", ECHO), ("slow", SLOW)):
        (tmp_path / f"{name}.py").write_text(content)
    host = jidoteki_host(load=[tmp_path / "echo.py"], enable=["echo"], health={"refresh": 50})
    plugins = host.appliance.system_etc / "plugins"
    host.appliance.replace_file(plugins / "slow.py", SLOW)
    host.configure(endpoints=["echo", "slow"], health={"refresh": 51})
    assert host.process

    host.process.send_signal(signal.SIGHUP)
    wait_until(lambda: host.request("GET", "/echo").json == {"refresh": 51})

    assert "/api/v1/admin/slow" in host.request("GET", "/endpoints").json["endpoints"]


def test_a_reload_ends_no_connection(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    server = urlsplit(host.url)
    context = ssl._create_unverified_context()
    with closing(http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)) as connection:
        connection.request("GET", f"{PREFIX}/version")
        connection.getresponse().read()
        kept = connection.sock

        host.configure(health={"refresh": 51})
        host.reload()

        for _ in range(2):
            connection.request("GET", f"{PREFIX}/version")
            connection.getresponse().read()
            assert connection.sock is kept

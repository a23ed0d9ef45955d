"""The same requests with 1,000 more plugins, beside none; and what they add to the start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench import load, servers
from bench.rows import Row, interleaved
from jidoteki.core.appliance import Appliance

PLUGINS = 1000
BESIDE = "without"

_SOURCE = '''"""A plugin with one endpoint."""

from jidoteki.hookspecs import Endpoint, hookimpl


async def show(request):
    return {"plugin": %(number)d}


@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("GET", "/extra-%(number)d", show, responses={200: "It"}, summary="Show it")]
'''


def rows(quick: bool) -> list[Row]:
    """Requests a second, and seconds to the first answer."""
    seconds, runs, starts = (0.7, 3, 1) if quick else (2.0, 5, 3)
    with servers.directory() as below:
        few, many = servers.appliance(below / "few"), _with_plugins(below / "many")
        with servers.service(few) as without, servers.service(many, **_enabled()) as with_them:
            ours, reference = interleaved(
                lambda: load.rate(with_them, seconds), lambda: load.rate(without, seconds), runs
            )
        started, plain = interleaved(lambda: _start(many), lambda: _start(few), starts)
    note = f"{sum(started['ms']) / len(started['ms']) / PLUGINS:.2f} ms for each plugin at the start"
    return [
        Row(f"GET /version, {PLUGINS} plugins", "requests/s", ours["rate"], reference["rate"], BESIDE, 0.98,
            at_least=True),
        Row(f"start with {PLUGINS} plugins", "ms", started["ms"], plain["ms"], BESIDE, 20, note=note),
    ]  # fmt: skip


def _with_plugins(below: Path) -> Appliance:
    on = servers.appliance(below)
    plugins = on.system_etc / "plugins"
    plugins.mkdir(mode=0o755)
    for number in range(PLUGINS):
        (plugins / f"extra_{number}.py").write_text(_SOURCE % {"number": number})
    return on


def _enabled() -> dict[str, Any]:
    names = ["settings", "certs", "license", "storage", "backup", *(f"extra-{number}" for number in range(PLUGINS))]
    return {"endpoints": names, "plugin_directory": "usr/local/etc/plugins"}


def _start(on: Appliance) -> dict[str, float]:
    began = time.perf_counter()
    with servers.service(on) as host:
        load.first_answer(host)
        return {"ms": (time.perf_counter() - began) * 1000}

"""`jidoteki plugins`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import json_option, root_option, service_user
from jidoteki.core.config import loading
from jidoteki.core.service.generation import assemble


@click.command()
@root_option
@json_option
def command(root: Path, as_json: bool) -> None:
    """List the plugins: what they serve, or why they do not."""
    appliance = Appliance(root)
    service_user.become(appliance)
    rows = describe(appliance)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = click.style("left out", fg="red") if row["problem"] else click.style("in service", fg="green")
        click.echo(f"{row['name']:20} {row['kind']:10} {row['version']:10} {state}  {row['problem'] or ''}")
        for endpoint in row["endpoints"]:
            click.echo(f"    {endpoint}")


def describe(appliance: Appliance) -> list[dict[str, Any]]:
    """Return one row for each plugin."""
    assembly = assemble(appliance, loading.load(appliance.configuration))
    served: dict[str, list[str]] = {}
    for route in assembly.routes.all():
        served.setdefault(route.plugin.name, []).append(f"{route.endpoint.method} {route.path}")
    return [
        {
            "name": plugin.name,
            "kind": plugin.source.kind,
            "distribution": plugin.source.distribution,
            "version": plugin.source.version,
            "contract": plugin.contract,
            "hooks": list(plugin.hooks),
            "jobs": [job.name for job in plugin.jobs],
            "endpoints": served.get(plugin.name, []),
            "problem": plugin.problem,
        }
        for plugin in assembly.plugins.all
    ]

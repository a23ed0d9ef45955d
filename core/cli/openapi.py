"""`jidoteki openapi`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import Problem, root_option
from jidoteki.core.config import loading
from jidoteki.core.http.routes import Routes
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.plugin_manager import manager


@click.command()
@root_option
def command(root: Path) -> None:
    """Print the OpenAPI 3.1 document of an appliance: exactly the endpoints that it serves."""
    from jidoteki.core import openapi

    appliance = Appliance(root)
    settings = loading.load(appliance.configuration)
    loaded = manager.load_all(appliance, settings)
    Launcher(appliance, settings, loaded)
    routes = Routes(loaded, settings)
    problems = [*settings.problems, *routes.problems]
    problems += [f"the plugin {each.name} is left out: {each.problem}" for each in loaded.all if each.problem]
    click.echo(json.dumps(openapi.describe(routes), indent=2, ensure_ascii=False, default=str))
    if problems:
        raise Problem(f"The document lacks what is out of service: {'; '.join(problems)}")

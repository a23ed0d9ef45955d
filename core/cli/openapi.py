"""`jidoteki openapi`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError, root_option, service_user
from jidoteki.core.config import loading
from jidoteki.core.service.generation import assemble


@click.command()
@root_option
def command(root: Path) -> None:
    """Print the OpenAPI 3.1 document of an appliance: exactly the endpoints that it serves."""
    from jidoteki.core import openapi

    appliance = Appliance(root)
    service_user.become(appliance)
    assembly = assemble(appliance, loading.load(appliance.configuration))
    problems = [*assembly.config.problems, *assembly.routes.problems]
    problems += [f"the plugin {each.name} is left out: {each.problem}" for each in assembly.plugins.all if each.problem]
    click.echo(
        json.dumps(openapi.describe(assembly.routes, assembly.screens), indent=2, ensure_ascii=False, default=str)
    )
    if problems:
        raise CommandError(f"The document lacks what is out of service: {'; '.join(problems)}")

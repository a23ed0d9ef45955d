"""`jidoteki check`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import json_option, root_option, service_user

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@root_option
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@json_option
@click.pass_context
def command(context: click.Context, root: Path, path: Path | None, as_json: bool) -> None:
    """Check an appliance's configuration, certificate, keys, permissions, space and plugins.

    Says for each finding where it is and what to do, and in notes what changes on a tree that the original API left.
    Exits 1 when there is an error. Root sees what the user sees whom the service runs as.
    """
    from jidoteki.core import checks
    from jidoteki.core.jobs.logs import printable

    appliance = Appliance(root)
    service_user.become_or_refuse(appliance)
    findings = list(checks.check(appliance, path))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        for each in findings:
            click.echo(f"{click.style(each.level, fg=COLOURS[each.level])}: {printable(each.place + each.message)}")
            click.echo(f"    {printable(each.advice)}")
        if all(each.level == "note" for each in findings):
            click.echo("Everything is in order")
    context.exit(1 if any(each.level == "error" for each in findings) else 0)

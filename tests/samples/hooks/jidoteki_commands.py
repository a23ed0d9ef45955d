"""`jidoteki backup-size` prints how much there is to back up."""

import click

from jidoteki.hookspecs import Appliance, hookimpl


@click.command("backup-size")
@click.pass_obj
def backup_size(appliance: Appliance) -> None:
    """Print how many bytes there are to back up."""
    click.echo(sum(path.stat().st_size for path in appliance.data.rglob("*") if path.is_file()))


@hookimpl
def jidoteki_commands(cli: click.Group) -> None:
    cli.add_command(backup_size)

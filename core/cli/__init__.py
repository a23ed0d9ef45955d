"""The `jidoteki` command: one module for each sub-command, imported when it is called."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

COMMANDS = {
    "check": "Check an appliance's configuration, certificates, keys, permissions and space.",
    "demo": "Make a demo appliance, kept between runs, and serve it.",
    "init": "Make a complete appliance root in a new directory.",
    "plugins": "List the plugins: what they serve, or why they do not.",
    "serve": "Serve the API of an appliance.",
    "sign": "Print the hash that authenticates a request.",
    "update": "Install the update package that was dropped into the uploads directory.",
}


class Problem(click.ClickException):
    """An error the user can do something about, told in one sentence."""

    def show(self, file: object = None) -> None:
        """Print it to standard error."""
        click.echo(f"jidoteki: {self.message}", err=True)


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*COMMANDS, *super().list_commands(context)})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            command: click.Command = import_module(f"jidoteki.core.cli.{name}").command
            return command
        return super().get_command(context, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing each."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS.get(name, "")) for name in self.list_commands(context)])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jidoteki-admin-api")
def main() -> None:
    """Administer an appliance over HTTPS: set up, update, configure, back up, diagnose, reboot."""


root_option = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    show_default=True,
    help="The appliance's root directory.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

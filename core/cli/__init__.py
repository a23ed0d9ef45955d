"""The `jidoteki` command: one module for each sub-command, imported when it is called."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import click

COMMANDS = {
    "call": "Make a signed request of an appliance.",
    "check": "Check an appliance's configuration, certificates, keys, permissions and space.",
    "config-schema": "Print the JSON Schema of the configuration file.",
    "debug-bundle": "Open the debug bundles that customers send.",
    "demo": "Make a demo appliance, kept between runs, and serve it.",
    "events": "Follow what happens on an appliance.",
    "init": "Make a complete appliance root in a new directory.",
    "jobs": "See and cancel the jobs of an appliance.",
    "new-plugin": "Make a new plugin's folder: a project with an endpoint, a validator, a job and tests.",
    "package": "Build update packages, or find out whether an appliance would accept one.",
    "openapi": "Print the OpenAPI 3.1 document of an appliance.",
    "plugins": "List the plugins: what they serve, or why they do not.",
    "provision": "Make what a machine lacks to be an appliance.",
    "serve": "Serve the API of an appliance.",
    "sign": "Print the hash that authenticates a request.",
    "top": "Show jobs and health of an appliance, live.",
    "update": "Install the update package that was dropped into the uploads directory.",
}


class CommandError(click.ClickException):
    """An error that the user can correct, as one sentence."""

    def show(self, file: object = None) -> None:
        """Print the message to standard error."""
        # It may contain untrusted text with control characters, which a terminal interprets.
        shown = "".join(c if c.isprintable() or c == "\n" else "?" for c in self.message)
        click.echo(f"jidoteki: {shown}", err=True)


def with_option(message: str, files: Mapping[str, Path]) -> str:
    """Prepend to a message that begins with a file's name the option that named this file.

    :param files: the files by option.
    """
    for option, path in files.items():
        if message.startswith((f"{path} ", f"{path.name} ")):
            return f"{option} {message}"
    return message


class Commands(click.Group):
    """A group that suggests the most similar command for an unknown one."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command with this name."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], self.list_commands(context), n=1) if args else []
            if not close or "did you mean" in error.format_message().lower():  # newer versions of click suggest some
                raise
            raise click.UsageError(f"{error.format_message()} Did you mean {close[0]!r}?", context) from error


class _Commands(Commands):
    """The host's commands and those of plugins, which are loaded only for names that no command of the host has."""

    _of_plugins: dict[str, click.Command]

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*COMMANDS, *self._plugin_commands(context)})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            command: click.Command = import_module(f"jidoteki.core.cli.{name.replace('-', '_')}").command
            return command
        return self._plugin_commands(context).get(name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the host's commands without importing them."""
        plugin_commands = {name: each.get_short_help_str() for name, each in self._plugin_commands(context).items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted((plugin_commands | COMMANDS).items()))

    def _plugin_commands(self, context: click.Context) -> dict[str, click.Command]:
        """Return the commands of plugins, which find the appliance in the context."""
        if context.obj is None:
            from jidoteki.core.cli import plugin_commands

            context.obj, self._of_plugins = plugin_commands.find()
        return self._of_plugins


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jidoteki-admin-api")
def main() -> None:
    """Administer an appliance over HTTPS: set up, update, configure, back up, diagnose, reboot."""


root_option = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    envvar="JIDOTEKI_ROOT",
    show_default=True,
    show_envvar=True,
    help="The appliance's root directory.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

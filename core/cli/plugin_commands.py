"""The sub-commands of plugins: those of the appliance at `$JIDOTEKI_ROOT`, or of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import COMMANDS
from jidoteki.core.config import loading
from jidoteki.core.plugin_manager import manager, sources
from jidoteki.core.plugin_manager.isolation import told
from jidoteki.core.plugin_manager.manager import Plugin, Plugins


def load() -> tuple[Appliance, Plugins]:
    """Return the appliance and its plugins, with all built-in ones."""
    appliance = Appliance(Path(os.environ.get("JIDOTEKI_ROOT") or "/"))
    config = loading.load(appliance.configuration)
    # A vendor's desk has no appliance, but needs the commands of the built-in plugins.
    everything = {**config.values, "endpoints": [*config.endpoints, *sources.built_in()]}
    return appliance, manager.load_all(appliance, loading.Config(everything))


def find() -> tuple[Appliance, dict[str, click.Command]]:
    """Return the appliance and the commands of its plugins; errors are reported on standard error."""
    appliance, loaded = load()
    found: dict[str, click.Command] = {}
    # In the order of loading, so that no plugin replaces a built-in one's commands.
    for plugin, function in reversed(loaded.implementations("jidoteki_commands")):
        for name, command in _commands_of(plugin, function).items():
            if name in COMMANDS or name in found:
                _report(plugin, f"the command {name!r} exists already")
            else:
                found[name] = command
    return appliance, found


def _commands_of(plugin: Plugin, function: Callable[..., object]) -> dict[str, click.Command]:
    """Return the commands of one plugin, collected in a separate group so that it cannot replace others."""
    group = click.Group()
    try:
        manager.within(manager.LOADING_TIMEOUT, lambda: function(cli=group))
    except manager.PluginError as error:
        _report(plugin, told(error))
        return {}
    return {name: each for name, each in group.commands.items() if isinstance(each, click.Command)}


def _report(plugin: Plugin, problem: str) -> None:
    click.echo(f"jidoteki: commands of the plugin {plugin.name}: {problem}", err=True)

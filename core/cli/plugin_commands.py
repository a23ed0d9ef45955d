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
    """Return the appliance and its plugins, with all that are built in."""
    appliance = Appliance(Path(os.environ.get("JIDOTEKI_ROOT") or "/"))
    config = loading.load(appliance.configuration)
    # A vendor's desk has no appliance, and still needs the commands of the built-in plugins.
    everything = {**config.values, "endpoints": [*config.endpoints, *sources.built_in()]}
    return appliance, manager.load_all(appliance, loading.Config(everything))


def find() -> tuple[Appliance, dict[str, click.Command]]:
    """Return the appliance and what its plugins add to the command; what cannot be added is told on standard error."""
    appliance, loaded = load()
    found: dict[str, click.Command] = {}
    # In the order of loading: the built-in plugins' commands stay theirs.
    for plugin, function in reversed(loaded.implementations("jidoteki_commands")):
        for name, command in _commands_of(plugin, function).items():
            if name in COMMANDS or name in found:
                _tell(plugin, f"the command {name!r} exists already")
            else:
                found[name] = command
    return appliance, found


def _commands_of(plugin: Plugin, function: Callable[..., object]) -> dict[str, click.Command]:
    """What one plugin adds, collected in a group of its own so that it can replace nothing."""
    group = click.Group()
    try:
        manager.within(manager.LOADING_TIMEOUT, lambda: function(cli=group))
    except manager.PluginError as error:
        _tell(plugin, told(error))
        return {}
    return {name: each for name, each in group.commands.items() if isinstance(each, click.Command)}


def _tell(plugin: Plugin, problem: str) -> None:
    click.echo(f"jidoteki: commands of the plugin {plugin.name}: {problem}", err=True)

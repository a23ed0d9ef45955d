"""Checks of the configuration, and of the plugins that it enables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import voluptuous as vol

from jidoteki.core.appliance import Appliance
from jidoteki.core.checks import privileged_jobs
from jidoteki.core.checks.advice import readable
from jidoteki.core.config import loading
from jidoteki.core.config.loading import Config, Mistake
from jidoteki.core.config.positions import Keys, Positions
from jidoteki.core.http.routes import Routes
from jidoteki.core.plugin_manager import manager, sources
from jidoteki.core.plugin_manager.isolation import RaisedError
from jidoteki.core.plugin_manager.manager import Plugin, PluginError, Plugins
from jidoteki.core.service.generation import Assembly
from jidoteki.hookspecs import Finding

CHECK_TIMEOUT = 60.0
"""Seconds for each plugin, in addition to the time limit of one vendor program."""


def check(assembly: Assembly) -> Iterator[Finding]:
    """Check the configuration and the loading of plugins."""
    config, loaded = assembly.config, assembly.plugins
    yield from _configuration(config)
    yield from _plugins(config, loaded, assembly.routes)
    if str(assembly.appliance.root) == "/":  # the systemd of this machine is not that of an image
        yield from privileged_jobs.check(assembly.launcher)
    yield from _parameters(assembly)
    yield from _sections(config, loaded)


def ask(assembly: Assembly) -> Iterator[Finding]:
    """Yield the findings of the plugins themselves."""
    loaded, host_config = assembly.plugins, assembly.config.values
    seconds = CHECK_TIMEOUT + host_config["limits"]["command"]
    for plugin, function in loaded.implementations("jidoteki_check"):
        asking = partial(function, appliance=assembly.appliance, host_config=host_config)
        try:
            answer = loaded.calls.within(plugin.name, "jidoteki_check", seconds, asking)
            found = [] if answer is None else list(answer)
            if not all(isinstance(each, Finding) for each in found):
                raise PluginError("it must return a list of Finding")
        except (PluginError, TypeError) as error:
            message = f"{plugin.name} failed in jidoteki_check: {error}"
            place = error.place if isinstance(error, RaisedError) else None
            where = (str(place[0]), place[1], 1) if place else ()
            yield Finding("error", "plugin", message, _plugin_advice(plugin), *where)
        else:
            yield from found


def _configuration(config: Config) -> Iterator[Finding]:
    path = str(config.path)
    if config.path and not config.path.exists():
        message = "there is no configuration: the last one that could be read counts, or no optional endpoint is served"
        advice = 'Run: jidoteki provision, which makes it, or make it, with {"endpoints": []} at least.'
        yield Finding("warning", "configuration", message, advice, path)
    for each in config.mistakes:
        advice = _advice(each, config.path)
        yield Finding("error", "configuration", each.message, advice, path, each.line or None, each.column or None)


def _advice(mistake: Mistake, path: Path | None) -> str:
    if not mistake.keys and path and path.is_file() and not os.access(path, os.R_OK):
        return readable(path)
    if not mistake.keys:
        return "Correct the file; until then the last one that could be read counts, or first run is enabled."
    if mistake.keys in loading.GONE:
        return loading.GONE[mistake.keys]
    if "comes twice" in mistake.message:
        return "Remove one of them; until then the last one counts."
    if loading.UNKNOWN in mistake.message:
        return "Correct or remove it; it has no effect."
    if mistake.keys[0] == "first-run":
        return "Correct it; until then the safe side counts: the first setup needs the generated passphrase."
    return "Correct it; until then its default counts."


def _plugins(config: Config, loaded: Plugins, routes: Routes) -> Iterator[Finding]:
    for problem in routes.problems:
        index = _index(config, problem)
        place = _place(config, ("endpoints", index))
        if "did you mean" not in problem:
            problem += loading.nearest(config.values["endpoints"][index], sources.built_in())
        advice = "Correct or remove the name, or install the plugin that serves it."
        yield Finding("error", "configuration", problem, advice, *place)
    for plugin in loaded.all:
        if plugin.problem:
            of_section = f"plugins.{plugin.name}" in plugin.problem
            place = _place(config, ("plugins", plugin.name)) if of_section else (None, None, None)
            yield Finding(
                "error", "plugin", f"{plugin.name} is left out: {plugin.problem}", _plugin_advice(plugin), *place
            )


def _index(config: Config, problem: str) -> int:
    """Return the index of the enabled endpoint that a problem is about."""
    names = config.values["endpoints"]
    return next((index for index, name in enumerate(names) if repr(name) in problem), 0)


def _place(config: Config, keys: Keys) -> tuple[str | None, int | None, int | None]:
    if config.path is None:
        return None, None, None
    try:
        return str(config.path), *Positions(loading.read(config.path)).of(keys)
    except (OSError, ValueError):
        return str(config.path), None, None


def _plugin_advice(plugin: Plugin) -> str:
    if plugin.problem and f"plugins.{plugin.name}" in plugin.problem:
        return "Correct its section; 'jidoteki config-schema' says what may stand there."
    if plugin.source.kind == "file":
        return f"Correct {plugin.source.target}, or move it elsewhere."
    if plugin.source.kind == "installed":
        return f"Update or uninstall {plugin.source.distribution or plugin.name}; its author may know more."
    return "Install the service anew; if that does not help, report it with this message."


def _parameters(assembly: Assembly) -> Iterator[Finding]:
    """Check for parameters that no endpoint has, enabled or not; if there are none, for missing ones."""
    if assembly.config.parameters is None:
        return
    unknown = list(_unknown(assembly.appliance, assembly.config, assembly.plugins))
    yield from unknown or _missing_parameters(assembly)  # a misspelt name is reported once


def _missing_parameters(assembly: Assembly) -> Iterator[Finding]:
    accepted = assembly.config.parameters or frozenset()
    place = _place(assembly.config, ("parameters",))
    for route in assembly.routes.all():
        if not route.plugin.source.needs_enabling:
            continue
        called = f"{route.endpoint.method} {route.path}"
        missing = [each for each in route.endpoint.parameters if str(each) not in {*accepted, route.parameter}]
        needed = [repr(str(each)) for each in missing if _is_needed(each)]
        if needed:
            message = f"parameters does not list {', '.join(needed)}, without which {called} always answers 400"
            yield Finding("warning", "configuration", message, f"Add it, or disable {route.path}.", *place)
        if further := [repr(str(each)) for each in missing if not _is_needed(each)]:
            message = f"parameters does not list {', '.join(further)}: {called} refuses a request with it"
            yield Finding("note", "configuration", message, "Add it where your clients may send it.", *place)


def _is_needed(marker: object) -> bool:
    return isinstance(marker, vol.Required) and isinstance(marker.default, vol.Undefined)


def _unknown(appliance: Appliance, config: Config, loaded: Plugins) -> Iterator[Finding]:
    listed = config.values["parameters"]
    everything = Config({**config.values, "endpoints": sources.built_in()})
    known = {
        str(marker)
        for plugin in (*manager.load_all(appliance, everything).loaded, *loaded.loaded)
        for endpoint in plugin.endpoints
        for marker in endpoint.parameters
    }
    for index, name in enumerate(listed):
        if name not in known:
            message = f"parameters: no endpoint has {name!r}{loading.nearest(name, known)}"
            place = _place(config, ("parameters", index))
            yield Finding("warning", "configuration", message, "Correct or remove it; it has no effect.", *place)


def _sections(config: Config, loaded: Plugins) -> Iterator[Finding]:
    """Check for plugin sections that are not used."""
    known = {plugin.name for plugin in loaded.all}
    for name in config.values["plugins"]:
        if name in known:
            continue
        place = _place(config, ("plugins", name))
        if name in sources.built_in():
            message, advice = f"plugins.{name} has no effect: {name} is not among the endpoints", "Enable or remove it."
            yield Finding("note", "configuration", message, advice, *place)
            continue
        message = f"plugins.{name} has no effect: there is no such plugin{loading.nearest(name, known)}"
        advice = "Correct or remove it, or install the plugin."
        yield Finding("warning", "configuration", message, advice, *place)

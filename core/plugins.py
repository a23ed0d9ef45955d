"""The plugins: found, loaded, asked for what they contribute, and kept from taking the host down with them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import pkgutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pluggy
import voluptuous as vol

from jidoteki.core.config import Config
from jidoteki.hookspecs import PROJECT, Appliance, Endpoint, Hooks, JobType, validators

logger = logging.getLogger(__name__)

Kind = Literal["mandatory", "built-in", "installed", "file"]

LOADING_TIME = 10.0
MANDATORY = "jidoteki.core.endpoints"
BUILT_IN = "jidoteki.plugins"


class PluginError(Exception):
    """Why a plugin was left out."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a plugin comes from; enough to load it again in another process."""

    name: str
    kind: Kind
    target: str
    distribution: str = ""
    version: str = ""

    def load(self) -> object:
        """Import the plugin.

        :raises Exception: whatever its import raises.
        """
        if self.kind == "installed":
            from importlib import metadata

            return metadata.EntryPoint(self.name, self.target, PROJECT).load()
        if self.kind == "file":
            return _load_file(self.name, Path(self.target))
        return importlib.import_module(self.target)


@dataclass(slots=True)
class Plugin:
    """A plugin and what it contributes; `problem` says why it was left out."""

    source: Source
    module: object = None
    problem: str | None = None
    section: Mapping[str, Any] = field(default_factory=dict)
    endpoints: list[Endpoint] = field(default_factory=list)
    jobs: list[JobType] = field(default_factory=list)
    hooks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The plugin's name, which is also that of its configuration section."""
        return self.source.name


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return what `function` returns, or give up on it.

    :raises PluginError: it did not end in time, or raised even what is not an Exception.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.extend((True, function()))
        except BaseException as error:  # a plugin that calls sys.exit must not end the service
            outcome.extend((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise PluginError(f"did not finish within {seconds:g} seconds")
    succeeded, value = outcome
    if succeeded:
        return value
    if isinstance(value, PluginError):
        raise value
    logger.debug("A plugin raised", exc_info=value)
    raise PluginError(f"{type(value).__name__}: {value}") from value


def _load_file(name: str, path: Path) -> object:
    """Import a one-file plugin, if only root or this user can have written it.

    :raises PluginError: somebody else could have.
    """
    for each in (path, path.parent):
        status = each.lstat()
        if stat.S_ISLNK(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise PluginError(f"{each} must belong to root or the service's user and be writable by nobody else")
    module_name = f"jidoteki_file_plugins.{name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def sources(config: Config, root: Path) -> Iterator[Source]:
    """All plugins of this installation; of the built-in ones those whose endpoint is enabled."""
    # Imported late: it is slow, and the process of a job does without.
    from importlib import metadata

    enabled = config.endpoints
    for kind, package in (("mandatory", MANDATORY), ("built-in", BUILT_IN)):
        for module in sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)):
            if kind == "mandatory" or module in enabled:
                yield Source(module, kind, f"{package}.{module}")  # type: ignore[arg-type]
    for entry in metadata.entry_points(group=PROJECT):
        distribution = entry.dist
        yield Source(
            entry.name,
            "installed",
            entry.value,
            distribution.name if distribution else "",
            distribution.version if distribution else "",
        )
    directory = config.settings["plugin-directory"]
    if directory:
        for path in sorted((root / directory.lstrip("/")).glob("*.py")):
            yield Source(path.stem, "file", str(path))


class Plugins:
    """The plugins of one appliance under one configuration."""

    def __init__(self, appliance: Appliance, config: Config) -> None:
        self.all: list[Plugin] = []
        self._appliance = appliance
        self._raw: Mapping[str, Any] = config.settings["plugins"]
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)

    @property
    def loaded(self) -> list[Plugin]:
        """The plugins that work."""
        return [plugin for plugin in self.all if plugin.problem is None]

    def load(self, source: Source) -> Plugin:
        """Load one plugin and collect what it contributes; what goes wrong is told in `problem` and the log."""
        plugin = Plugin(source)
        self.all.append(plugin)
        try:
            within(LOADING_TIME, lambda: self._load(plugin))
        except PluginError as error:
            self.leave_out(plugin, str(error))
        return plugin

    def leave_out(self, plugin: Plugin, problem: str) -> None:
        """Take a plugin out of service."""
        plugin.problem = problem
        logger.error("The plugin %s is left out: %s", plugin.name, problem)
        if plugin.module is not None and self._manager.is_registered(plugin.module):
            self._manager.unregister(plugin.module)

    def call(self, hook: str, seconds: float = LOADING_TIME, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """Call one hook of every plugin, each on its own: one that raises or hangs does not stop the others."""
        results = []
        for plugin, function in self.implementations(hook):
            try:
                results.append((plugin, within(seconds, lambda f=function: f(**arguments))))  # type: ignore[misc]
            except PluginError as error:
                logger.error("The plugin %s failed in %s: %s", plugin.name, hook, error)
        return results

    def implementations(self, hook: str) -> list[tuple[Plugin, Callable[..., Any]]]:
        """The implementations of a hook in the order in which they are called."""
        by_name = {plugin.name: plugin for plugin in self.loaded}
        found = []
        for each in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            if each.plugin_name in by_name:
                found.append((by_name[each.plugin_name], _caller(each.function, each.argnames)))
        return found

    def _load(self, plugin: Plugin) -> None:
        module = plugin.source.load()
        if any(other.name == plugin.name for other in self.all if other is not plugin):
            raise PluginError(f"another plugin is called {plugin.name} already")
        self._register(plugin, module)
        plugin.section = self._section(plugin)
        plugin.jobs = self._ask(plugin, "jidoteki_jobs", JobType)
        plugin.endpoints = self._ask(plugin, "jidoteki_endpoints", Endpoint)

    def _register(self, plugin: Plugin, module: object) -> None:
        try:
            self._manager.register(module, plugin.name)
        except pluggy.PluginValidationError as error:
            raise PluginError(f"does not follow the contract: {error}") from error
        finally:
            plugin.module = module
        plugin.hooks = tuple(caller.name for caller in self._manager.get_hookcallers(module) or ())
        for hook in plugin.hooks:
            if not hasattr(Hooks, hook):
                raise PluginError(f"implements {hook}, which is not a hook of this version")
        if not plugin.hooks:
            raise PluginError("implements no hook")

    def _section(self, plugin: Plugin) -> Mapping[str, Any]:
        raw = self._raw.get(plugin.name, {})
        schema = self._one(plugin, "jidoteki_config_schema")
        if schema is None:
            if raw:
                raise PluginError(f"plugins.{plugin.name} is configured, but it has no configuration")
            return {}
        if not isinstance(schema, vol.Schema):
            raise PluginError("jidoteki_config_schema must return a voluptuous.Schema")
        try:
            return dict(schema(raw))
        except vol.Invalid as error:
            raise PluginError(f"plugins.{plugin.name}: {validators.explain(error)}") from error

    def _ask(self, plugin: Plugin, hook: str, kind: type) -> list[Any]:
        answer = self._one(plugin, hook)
        if answer is None:
            return []
        if not isinstance(answer, list) or not all(isinstance(each, kind) for each in answer):
            raise PluginError(f"{hook} must return a list of {kind.__name__}")
        return answer

    def _one(self, plugin: Plugin, hook: str) -> Any:
        for each in getattr(self._manager.hook, hook).get_hookimpls():
            if each.plugin is plugin.module:
                result = _caller(each.function, each.argnames)(appliance=self._appliance)
                if inspect.isawaitable(result):
                    raise PluginError(f"{hook} must not be async")
                return result
        return None


def _caller(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """The function with the arguments that it asks for, as pluggy calls it."""
    return lambda **arguments: function(*(arguments[name] for name in names))


def load_all(appliance: Appliance, config: Config) -> Plugins:
    """Load every plugin of this installation that the configuration enables."""
    plugins = Plugins(appliance, config)
    for source in sources(config, appliance.root):
        plugins.load(source)
    return plugins


def load_for_job(appliance: Appliance, config: Config, wanted: list[Source]) -> Plugins:
    """Load the plugins that a job needs, in the job's own process."""
    plugins = Plugins(appliance, config)
    for source in wanted:
        plugins.load(source)
    return plugins

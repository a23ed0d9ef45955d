"""Loading plugins and calling their hooks, without letting a failing plugin take the host down."""

from __future__ import annotations

import inspect
import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pluggy
import voluptuous as vol

from jidoteki.core.config.loading import Config
from jidoteki.core.plugin_manager.isolation import (
    Calls,
    PluginTimeoutError,
    RaisedError,
    StillRunningError,
    told,
    within,
)
from jidoteki.core.plugin_manager.sources import PluginError, Source, sources
from jidoteki.hookspecs import CONTRACT, PROJECT, Appliance, Endpoint, Hooks, JobType, validators

__all__ = ["Plugin", "PluginError", "Plugins", "Source", "load_all", "load_for_job", "within"]

logger = logging.getLogger(__name__)

LOADING_TIMEOUT = 10.0
#: The host's own endpoints must load even on a very slow machine.
TRUSTED_TIMEOUT = 600.0
MAY_BE_ASYNC = ("jidoteki_startup", "jidoteki_shutdown")
TRACE = bool(os.environ.get("JIDOTEKI_TRACE_PLUGINS"))


@dataclass(slots=True)
class Plugin:
    """A plugin and its contributions; `problem` is the reason why it was left out."""

    source: Source
    module: object = None
    problem: str | None = None
    section: Mapping[str, Any] = field(default_factory=dict)
    endpoints: list[Endpoint] = field(default_factory=list)
    jobs: list[JobType] = field(default_factory=list)
    hooks: tuple[str, ...] = ()
    contract: str = CONTRACT

    @property
    def name(self) -> str:
        """The plugin's name, which is also that of its configuration section."""
        return self.source.name


class Plugins:
    """The plugins of one appliance under one configuration.

    :param calls: the guard of this process, if it loads plugins more than once.
    """

    def __init__(self, appliance: Appliance, config: Config, hooks: type = Hooks, calls: Calls | None = None) -> None:
        self.all: list[Plugin] = []
        self.calls = calls or Calls()
        self._names: set[str] = set()
        self._appliance = appliance
        self._raw: Mapping[str, Any] = config.values["plugins"]
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hooks)

    @property
    def loaded(self) -> list[Plugin]:
        """The plugins that were loaded without a problem."""
        return [plugin for plugin in self.all if plugin.problem is None]

    def load(self, source: Source) -> Plugin:
        """Load one plugin and collect its contributions; a failure is reported in `problem` and in the log."""
        plugin = Plugin(source)
        self.all.append(plugin)
        try:
            seconds = TRUSTED_TIMEOUT if source.trusted else LOADING_TIMEOUT
            self.calls.within(plugin.name, "its loading", seconds, lambda: self._load(plugin))
        except RaisedError as error:
            self.leave_out(plugin, str(error), error.__cause__)
        except PluginError as error:
            self.leave_out(plugin, str(error))
        return plugin

    def leave_out(self, plugin: Plugin, problem: str, raised: BaseException | None = None) -> None:
        """Disable a plugin because of a problem.

        :param raised: an exception whose traceback is logged for the plugin's author.
        """
        plugin.problem = problem
        logger.error("The plugin %s is left out: %s", plugin.name, problem, exc_info=raised)
        if plugin.module is not None and self._manager.is_registered(plugin.module):
            self._manager.unregister(plugin.module)

    def call(self, hook: str, seconds: float = LOADING_TIMEOUT, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """Call a hook of every plugin and return the results; one that raises or hangs does not stop the others.

        One that hangs is not called again until it has returned.
        """
        results = []
        for plugin, function in self.implementations(hook):
            try:
                answer = self.calls.within(plugin.name, hook, seconds, partial(function, **arguments))
                results.append((plugin, answer))
            except StillRunningError:
                continue
            except PluginTimeoutError as error:
                logger.error("The plugin %s %s in %s: it is not called again before it has", plugin.name, error, hook)
            except PluginError as error:
                raised = self.calls.first(error)
                logger.error("The plugin %s failed in %s: %s", plugin.name, hook, told(error), exc_info=raised)
        return results

    def implementations(self, hook: str) -> list[tuple[Plugin, Callable[..., Any]]]:
        """Return the implementations of a hook in the order in which they are called."""
        by_name = {plugin.name: plugin for plugin in self.loaded}
        found = []
        for each in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            if each.plugin_name in by_name:
                plugin = by_name[each.plugin_name]
                found.append((plugin, _caller(hook, each, plugin)))
        return found

    def _load(self, plugin: Plugin) -> None:
        module = plugin.source.load()
        plugin.contract = _contract(module)
        if plugin.name in self._names:
            raise PluginError(f"another plugin is called {plugin.name} already")
        self._names.add(plugin.name)
        self._register(plugin, module)
        plugin.section = self._section(plugin)
        plugin.jobs = self._ask(plugin, "jidoteki_jobs", JobType)
        plugin.endpoints = self._ask(plugin, "jidoteki_endpoints", Endpoint)

    def _register(self, plugin: Plugin, module: object) -> None:
        with warnings.catch_warnings(record=True) as deprecations:
            warnings.simplefilter("always")
            try:
                self._manager.register(module, plugin.name)
            except pluggy.PluginValidationError as error:
                raise PluginError(f"does not follow the contract: {error}") from error
            finally:
                plugin.module = module
        for deprecation in deprecations:
            logger.warning("The plugin %s: %s", plugin.name, deprecation.message)
        callers = self._manager.get_hookcallers(module) or []
        plugin.hooks = tuple(caller.name for caller in callers)
        for caller in callers:
            if not caller.has_spec():
                raise PluginError(f"implements {caller.name}, which is not a hook of this version")
            own = _own(caller, module)
            if own is not None:
                _check(caller.name, own)
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
        if hook not in plugin.hooks:
            return None
        own = _own(getattr(self._manager.hook, hook), plugin.module)
        if own is None:
            return None
        result = _caller(hook, own, plugin)(appliance=self._appliance)
        if inspect.isawaitable(result):
            raise PluginError(f"{hook} must not be async")
        return result


def _own(caller: pluggy.HookCaller, module: object) -> pluggy.HookImpl | None:
    """Return a plugin's implementation of a hook; searched from the end, where the one being loaded is."""
    return next((each for each in reversed(caller.get_hookimpls()) if each.plugin is module), None)


def _caller(hook: str, implementation: pluggy.HookImpl, plugin: Plugin) -> Callable[..., Any]:
    """Return a function that calls an implementation with the arguments that it declares, and traces it if asked to."""

    def call(**arguments: Any) -> Any:
        started = time.monotonic()
        given = {"config": plugin.section, **arguments}
        result = implementation.function(*(given[name] for name in implementation.argnames))
        if TRACE:
            taken = (time.monotonic() - started) * 1000
            logger.info("Trace: %s of %s returned %.200r in %.1f ms", hook, implementation.plugin_name, result, taken)
        return result

    return call


def _check(hook: str, implementation: pluggy.HookImpl) -> None:
    """Check that a hook is implemented in a way that the contract allows.

    :raises PluginError: it is not.
    """
    if implementation.wrapper or implementation.hookwrapper:
        raise PluginError(f"implements {hook} as a wrapper, which this contract does not have")
    if hook not in MAY_BE_ASYNC and inspect.iscoroutinefunction(implementation.function):
        raise PluginError(f"{hook} must not be async")


def _contract(module: object) -> str:
    """Return the version of the contract that a plugin was written for.

    :raises PluginError: this host does not support it.
    """
    wanted = getattr(module, "JIDOTEKI_CONTRACT", CONTRACT)
    try:
        major, minor = (int(part) for part in str(wanted).split("."))
    except ValueError as error:
        raise PluginError(f"JIDOTEKI_CONTRACT is {wanted!r}, which is not a version such as {CONTRACT!r}") from error
    own_major, own_minor = (int(part) for part in CONTRACT.split("."))
    if major != own_major or minor > own_minor:
        raise PluginError(f"needs version {wanted} of the contract, and this host has {CONTRACT}: update the host")
    return str(wanted)


def load_all(appliance: Appliance, config: Config, calls: Calls | None = None) -> Plugins:
    """Load every plugin of this installation that the configuration enables.

    :param calls: the guard of this process, if it loads plugins more than once.
    """
    plugins = Plugins(appliance, config, calls=calls)
    for source in sources(config, appliance.root):
        plugins.load(source)
    return plugins


def load_for_job(appliance: Appliance, config: Config, wanted: list[Source]) -> Plugins:
    """Load the plugins that a job needs, in the job's own process."""
    plugins = Plugins(appliance, config)
    for source in wanted:
        plugins.load(source)
    return plugins

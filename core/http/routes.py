"""The routing table: endpoints by method and path."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import voluptuous as vol

from jidoteki.core.config.loading import Config, nearest
from jidoteki.core.http.forms import Form
from jidoteki.core.plugin_manager.manager import Plugin, Plugins
from jidoteki.hookspecs import Described, Endpoint, trials

logger = logging.getLogger(__name__)

#: Replaces the parameter of a path in the table; no path of a request can contain it.
ANY = "{}"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE = ("GET", "OPTIONS")
_PATH = re.compile(r"(/[a-z0-9][a-z0-9._-]*)+(/\{(?P<parameter>[a-z][a-z0-9_]*)\}(/[a-z0-9][a-z0-9._-]*)*)?")
#: More than any served path has.
MAX_PARTS = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class OutOfService:
    """A placeholder for the endpoints of a failed plugin."""

    path: str
    plugin: Plugin
    changes = False

    @property
    def problem(self) -> str:
        """The reason, as a sentence."""
        return f"The plugin {self.plugin.name} is out of service: {self.plugin.problem}"


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint, ready to serve."""

    path: str
    plugin: Plugin
    endpoint: Endpoint
    form: Form
    changes: bool
    #: The name of the parameter in the path.
    parameter: str | None = None

    @property
    def mandatory(self) -> bool:
        """Whether the endpoint cannot be disabled."""
        return self.plugin.source.kind == "mandatory"

    @property
    def is_download(self) -> bool:
        """Whether it returns a file and changes nothing."""
        answer = self.endpoint.responses.get(200)
        is_file = isinstance(answer, Described) and answer.media != "application/json"
        return is_file and self.endpoint.method == "GET" and not self.changes

    def values_in(self, path: str) -> dict[str, str]:
        """Return the parameter in a path of this route, by name; empty if it has none."""
        if self.parameter is None:
            return {}
        return {self.parameter: path.split("/")[_shape(self.path)[1]]}


class Routes:
    """The routing table of one configuration."""

    def __init__(self, plugins: Plugins, config: Config) -> None:
        self._table: dict[str, dict[str, Route]] = {}
        #: For paths with a parameter: the number of segments, and the index of the parameter.
        self._shapes: set[tuple[int, int]] = set()
        self._out_of_service: dict[str, OutOfService] = {}
        self.problems: list[str] = []
        #: Which optional ways of authentication are enabled.
        self.authentication: Mapping[str, bool] = config.values["authentication"]
        for plugin in plugins.loaded:
            routes = [route for each in plugin.endpoints if (route := self._route(plugins, plugin, each, config))]
            if plugin.problem is None:
                for route in routes:
                    if route.parameter:
                        self._shapes.add(_shape(route.path))
                    self._table.setdefault(_key(route.path), {})[route.endpoint.method] = route
        self._enabled = {f"/{name}" for name in config.endpoints}
        served = {enabling(route.endpoint) for route in self.all()}
        for name in sorted(config.endpoints):
            if name not in served:
                self._check_enabled(name, plugins)

    def find(self, path: str) -> Mapping[str, Route | OutOfService] | None:
        """Return the routes at a path without the prefix, by method; None if there are none.

        A trailing slash makes no difference, as in the original.
        """
        plain = path.removesuffix("/")
        found = self._table.get(path) or self._table.get(plain)
        if found is None:
            found = self._with_parameter(plain)
        if found is None and path and (failed := self._out_of_service.get(first_level(path))):
            return dict.fromkeys(METHODS, failed)
        return found

    def _with_parameter(self, path: str) -> dict[str, Route] | None:
        """Return the routes at a path that has a parameter."""
        parts = path.split("/", MAX_PARTS)
        for count, position in self._shapes:
            if len(parts) == count and _NAME.fullmatch(parts[position]):
                found = self._table.get("/".join((*parts[:position], ANY, *parts[position + 1 :])))
                if found:
                    return found
        return None

    def all(self) -> list[Route]:
        """Return all routes."""
        return [route for methods in self._table.values() for route in methods.values()]

    def first_levels(self) -> list[str]:
        """Return the first path segments that are served, sorted."""
        return sorted({*self._out_of_service, *(first_level(route.path) for route in self.all())})

    def listed(self) -> list[str]:
        """Return the first path segments that are enabled or mandatory, sorted."""
        mandatory = {first_level(route.path) for route in self.all() if route.mandatory}
        return [each for each in self.first_levels() if each in self._enabled or each in mandatory]

    def _route(self, plugins: Plugins, plugin: Plugin, endpoint: Endpoint, config: Config) -> Route | None:
        needs_enabling = plugin.source.needs_enabling
        problem = _problem(endpoint) or _unconfirmable(endpoint, plugin)
        taken = None if problem else self._table.get(_key(endpoint.path), {}).get(endpoint.method)
        if taken and plugin.source.gives_way:
            return None
        if taken:
            problem = f"{endpoint.method} {endpoint.path} belongs to the plugin {taken.plugin.name} already"
        if problem:
            plugins.leave_out(plugin, problem)
            return None
        if needs_enabling and enabling(endpoint) not in config.endpoints:
            return None
        try:
            form = Form(endpoint, _accepted(endpoint, config) if needs_enabling else None)
        except Exception as error:
            plugins.leave_out(plugin, f"the parameters of {endpoint.method} {endpoint.path} are not a schema: {error}")
            return None
        changes = endpoint.method not in SAFE if endpoint.changes is None else endpoint.changes
        return Route(endpoint.path, plugin, endpoint, form, changes, parameter=parameter_of(endpoint.path))

    def _check_enabled(self, name: str, plugins: Plugins) -> None:
        failed = [plugin for plugin in plugins.all if plugin.problem]
        at_fault = [plugin for plugin in failed if plugin.name == name or name in _enabling(plugin)]
        if at_fault:
            self._out_of_service[f"/{name}"] = OutOfService(f"/{name}", at_fault[0])
            return
        known = {each for plugin in plugins.all for each in _enabling(plugin)}
        self.problems.append(f"endpoints: no plugin serves {name!r}{nearest(name, known)}")


def _accepted(endpoint: Endpoint, config: Config) -> frozenset[str] | None:
    """Return the parameters that the configuration allows; one in the path is always allowed."""
    return None if config.parameters is None else config.parameters | {parameter_of(endpoint.path) or ""}


def _enabling(plugin: Plugin) -> set[str]:
    return {enabling(each) for each in plugin.endpoints if _problem(each) is None}


def enabling(endpoint: Endpoint) -> str:
    """Return the name in the configuration that enables an endpoint."""
    return endpoint.enabled_by or first_level(endpoint.path)[1:]


def _problem(endpoint: Endpoint) -> str | None:
    if endpoint.method not in METHODS:
        return f"{endpoint.method!r} is not one of {', '.join(METHODS)}"
    if not isinstance(endpoint.path, str) or not _PATH.fullmatch(endpoint.path):
        return f"the path {endpoint.path!r} must look like /name/part, /name/{{parameter}} or /name/{{parameter}}/part"
    parameter = parameter_of(endpoint.path)
    if parameter and parameter not in map(str, endpoint.parameters):
        return f"the parameter {parameter} of the path {endpoint.path} is not among its parameters"
    if endpoint.body and (endpoint.method in SAFE or endpoint.changes is False):
        return f"{endpoint.method} {endpoint.path} reads a body, which only a change may"
    if not inspect.iscoroutinefunction(endpoint.handler):
        return f"the handler of {endpoint.method} {endpoint.path} must be an async function"
    return None


def _unconfirmable(endpoint: Endpoint, plugin: Plugin) -> str | None:
    """Return why the changes of an endpoint that says so cannot be confirmed."""
    if endpoint.confirm is None:
        return None
    named = f"{endpoint.method} {endpoint.path}"
    if not any(job.name == endpoint.starts and job.revert for job in plugin.jobs):
        return f"{named} is to be confirmed, but starts no job of this plugin that has a revert"
    try:
        trials.SECONDS(endpoint.confirm)
    except vol.Invalid:
        return f"the confirm of {named} must be 0, or {trials.MIN_SECONDS} to {trials.MAX_SECONDS} seconds"
    return None


def parameter_of(path: str) -> str | None:
    """Return the name of the parameter in a path, such as `id` for `/jobs/{id}`, or None."""
    match = _PATH.fullmatch(path)
    return match["parameter"] if match else None


def _key(path: str) -> str:
    """Return the key of a path in the table, which does not depend on its parameter's name."""
    parameter = parameter_of(path)
    return path.replace(f"{{{parameter}}}", ANY) if parameter else path


def _shape(path: str) -> tuple[int, int]:
    """Return the number of segments in a path with a parameter, and the parameter's index."""
    parts = path.split("/")
    return len(parts), parts.index(f"{{{parameter_of(path)}}}")


def first_level(path: str) -> str:
    """Return the first segment of a path, such as `/backup` for `/backup/download`."""
    return "/" + path.split("/", 2)[1]

"""The schemas of plugins' sections in the configuration, for the JSON Schema of the whole file."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import voluptuous as vol

from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import Config
from jidoteki.core.plugin_manager import manager, sources
from jidoteki.core.plugin_manager.sources import PluginError, Source


def sections_of(appliance: Appliance, config: Config) -> dict[str, vol.Schema]:
    """Return the schemas of the sections of an appliance's plugins, even of those whose section is invalid."""
    return built_in_sections() | _ask(sources.sources(config, appliance.root))


def built_in_sections() -> dict[str, vol.Schema]:
    """Return the schemas of the sections of the built-in plugins, enabled or not."""
    package = import_module(sources.BUILT_IN)
    names = [each.name for each in pkgutil.iter_modules(package.__path__)]
    return _ask(Source(name, "built-in", f"{package.__name__}.{name}") for name in names)


def _ask(asked: Iterable[Source]) -> dict[str, vol.Schema]:
    answers = ((source.name, _schema_of(source)) for source in asked)
    return {name: schema for name, schema in answers if schema is not None}


def _schema_of(source: Source) -> vol.Schema | None:
    def ask() -> Any:
        function = getattr(source.load(), "jidoteki_config_schema", None)
        return function() if callable(function) else None

    try:
        schema = manager.within(manager.LOADING_TIMEOUT, ask)
    except PluginError:
        return None
    return schema if isinstance(schema, vol.Schema) else None

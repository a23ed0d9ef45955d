"""The JSON Schema of the configuration file, made from the validators that judge it, for editors and other tools.

https://json-schema.org/draft/2020-12/schema
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import voluptuous as vol

from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import SCHEMA_KEY, Config, defaults
from jidoteki.core.config.sections import SECTIONS
from jidoteki.core.json_schema import of_validator
from jidoteki.core.plugin_manager import manager
from jidoteki.core.plugin_manager import sources as plugin_sources

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MEANINGS = {
    "endpoints": "The optional endpoints that are served, third parties' included",
    "parameters": "The form parameters that optional endpoints accept; null for all that they declare",
    "first-run": "How the first setup goes",
    "first-run.enabled": "Whether the first setup needs a generated passphrase",
    "first-run.word-length": "Words in that passphrase",
    "authentication": "Ways to authenticate beside the token and its hash",
    "authentication.named-tokens": "Whether tokens with a name and a role are accepted",
    "authentication.signatures": "Whether requests signed for a short time are accepted",
    "authentication.names": "Names of this appliance in signed requests, beside its own, each with or without a port",
    "plugins": "A section for each plugin, as its author documents it",
    "plugin-directory": "Where one-file plugins lie, below the root",
    "listen": "Where to listen",
    "listen.host": "Address to listen on, or a list of them; :: for all of IPv6 and IPv4; null for all, too, at a root "
    "other than / for 127.0.0.1",
    "listen.port": "HTTPS port, 0 for a free one; null for 8443",
    "listen.trusted-proxies": "Reverse proxies, as addresses or networks, whose word about a client's address counts",
    "listen.forwarded-header": "The header in which they say it",
    "limits": "What the service takes on",
    "limits.upload": "Longest uploaded file, in bytes",
    "limits.free-space": "What uploads, backups and unpacking leave free, in bytes",
    "limits.connections": "Connections at once",
    "limits.connections-per-address": "Connections at once of one address",
    "limits.failed-authentication-pause": "Seconds between two failed guesses of one address",
    "limits.idle-body": "Seconds without a byte of a request's body; an answer may stand still for three times as long",
    "limits.minimum-upload-rate": "Bytes a second of a body after 30 seconds, and of an answer; 0 for any",
    "limits.command": "Seconds for each vendor command and each line of debug.txt",
    "commands": "Programs of the vendor, each as a list of its name and arguments",
    "commands.reboot": "Reboots the machine; null for reboot, at a root other than / for nothing",
    "commands.persist": "Keeps the system's data: before a reboot and after each change; null for the original's "
    "commands where /usr/bin/symlinktool.sh is there",
    "commands.prefix": "Starts the vendor's programs and update.sh, for example sudo -n where the service is no root",
    "update": "Update packages",
    "update.legacy-packages": "Whether packages encrypted with -md md5 and no PBKDF2 are accepted",
    "update.unversioned-packages": "Whether packages without version.txt are accepted, any of them at any time",
    "update.script-timeout": "Seconds for update.sh",
    "update.max-unpacked-size": "Bytes that a package may unpack to",
    "update.max-members": "Files and directories that a package may hold",
    "update.allow-scheme-change-to": "A version that is accepted although it cannot be compared with the installed one",
    "files": "Files that the service makes",
    "files.group": "Who else may read files that are not for everybody, by name or number; null for the group that may "
    "make files in ADMIN/etc, if it is neither root's nor the service's own",
    "health": "The figures of /health",
    "health.refresh": "Seconds between two measurements; 0 leaves health.json to the vendor's collector",
}


def describe(sections: Mapping[str, vol.Schema] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of the configuration.

    :param sections: the schemas of plugins' sections, by the plugins' names.
    """
    properties: dict[str, Any] = {
        SCHEMA_KEY: {"type": "string", "description": "Where editors find this schema; means nothing to the service"}
    }
    for name, value in defaults().items():
        described = _tidy(of_validator(SECTIONS[name][1]))
        described["description"] = MEANINGS.get(name, name)
        for key, schema in described.get("properties", {}).items():
            schema["description"] = MEANINGS.get(f"{name}.{key}", key)
        if not described.get("properties"):
            described["default"] = value
        properties[name] = described
    properties["plugins"]["properties"] = {
        name: {**_tidy(of_validator(schema)), "description": f"The plugin {name}"}
        for name, schema in sorted((sections or {}).items())
    }
    return {
        SCHEMA_KEY: DIALECT,
        "title": "Configuration of the Jidoteki Admin API",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def sections_of(appliance: Appliance, config: Config) -> dict[str, vol.Schema]:
    """The schemas of the sections of an appliance's plugins, those included whose section is wrong now."""
    return built_in_sections() | _ask(plugin_sources.sources(config, appliance.root))


def built_in_sections() -> dict[str, vol.Schema]:
    """The schemas of the sections of the plugins that come with the service, enabled or not."""
    package = import_module(plugin_sources.BUILT_IN)
    names = [each.name for each in pkgutil.iter_modules(package.__path__)]
    return _ask(plugin_sources.Source(name, "built-in", f"{package.__name__}.{name}") for name in names)


def _ask(sources: Iterable[plugin_sources.Source]) -> dict[str, vol.Schema]:
    answers = ((source.name, _schema_of(source)) for source in sources)
    return {name: schema for name, schema in answers if schema is not None}


def as_text(schema: Mapping[str, Any]) -> str:
    """The schema as it is published."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema_of(source: plugin_sources.Source) -> vol.Schema | None:
    def ask() -> Any:
        function = getattr(source.load(), "jidoteki_config_schema", None)
        return function() if callable(function) else None

    try:
        schema = manager.within(manager.LOADING_TIME, ask)
    except plugin_sources.PluginError:
        return None
    return schema if isinstance(schema, vol.Schema) else None


def _tidy(schema: Any) -> Any:
    """Put right what the conversion leaves: lengths of lists, and numbers that are whole or not."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {key: _tidy(value) for key, value in schema.items()}
    if tidied.get("type") == "array":
        tidied = {_LIST_WORDS.get(key, key): value for key, value in tidied.items()}
    if tidied.get("anyOf") == [{"type": "integer"}, {"type": "number"}]:
        del tidied["anyOf"]
        tidied = {"type": "number", **tidied}
    return tidied


_LIST_WORDS = {"minLength": "minItems", "maxLength": "maxItems"}

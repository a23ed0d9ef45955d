"""The JSON Schema of the configuration file, generated from its validators, for editors and other tools.

https://json-schema.org/draft/2020-12/schema
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.core.config.loading import SCHEMA_KEY, defaults
from jidoteki.core.config.sections import SECTIONS
from jidoteki.core.json_schema import of_validator

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def describe(sections: Mapping[str, vol.Schema] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of the configuration.

    :param sections: the schemas of plugins' sections, by the plugins' names.
    """
    properties: dict[str, Any] = {
        SCHEMA_KEY: {"type": "string", "description": "Where editors find this schema; means nothing to the service"}
    }
    for name, value in defaults().items():
        section = SECTIONS[name]
        described = {**_tidy(of_validator(section.check)), "description": section.meaning}
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


def as_text(schema: Mapping[str, Any]) -> str:
    """Return the schema as text for publication."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _tidy(schema: Any) -> Any:
    """Fix what the conversion gets wrong: lengths of lists, and numbers that may be whole or not."""
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

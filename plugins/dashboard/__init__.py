"""The dashboard at `/`: administration with a browser, on the same API that scripts use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Finding, Page, hookimpl, validators
from jidoteki.plugins.dashboard import assets, branding

_COLOUR: Final = {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"}
COLOURS: Final = {
    "type": "object",
    "required": ["background", "text"],
    "properties": {"background": _COLOUR, "text": _COLOUR},
    "additionalProperties": False,
}
LANGUAGES: Final = {"type": "object", "additionalProperties": {"type": "string"}}


@validators.described({"type": "boolean"})
def _switch(value: Any) -> bool:
    """Accept anything, and only false for off."""
    return value is not False


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    """Return a schema that accepts everything: what cannot be used is told by `jidoteki check`."""
    keys = {
        vol.Optional("enabled", default=True, description="Whether it is served, and what it brings along"): _switch,
        vol.Optional("name", description="In the head of all screens"): _anything({"type": "string", "maxLength": 64}),
        vol.Optional("logo", description="Path of an SVG, PNG or WebP, below the root"): _anything({"type": "string"}),
        vol.Optional("colours", description="Of the head, with a contrast of at least 4.5:1"): _anything(COLOURS),
        vol.Optional("support", description="Who helps"): _anything({"type": "string", "maxLength": 2000}),
        vol.Optional("languages", description="Paths of catalogues by language"): _anything(LANGUAGES),
    }
    return vol.Schema(keys, extra=vol.ALLOW_EXTRA)


def _anything(json_schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    @validators.described(json_schema)
    def anything(value: Any) -> Any:
        return value

    return anything


@hookimpl
def jidoteki_pages(appliance: Appliance, config: Mapping[str, Any]) -> list[Page]:
    return assets.pages(branding.read(appliance, config)) if config["enabled"] else []


@hookimpl
def jidoteki_check(appliance: Appliance, config: Mapping[str, Any]) -> list[Finding]:
    return branding.check(appliance, config) if config["enabled"] else []

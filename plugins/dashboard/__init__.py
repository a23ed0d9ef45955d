"""The dashboard at `/`: administration with a browser, on the same API that scripts use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Finding, Page, hookimpl
from jidoteki.plugins.dashboard import assets, branding


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    return vol.Schema({vol.Optional("enabled", default=True): bool, **branding.SCHEMA})


@hookimpl
def jidoteki_pages(appliance: Appliance, config: Mapping[str, Any]) -> list[Page]:
    return assets.pages(branding.read(appliance, config)) if config["enabled"] else []


@hookimpl
def jidoteki_check(appliance: Appliance, config: Mapping[str, Any]) -> list[Finding]:
    return branding.check(appliance, config) if config["enabled"] else []

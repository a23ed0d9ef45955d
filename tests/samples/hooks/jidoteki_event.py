"""Appends refused authentications to the file that the plugin's section names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import Event, hookimpl


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    return vol.Schema({vol.Required("file"): str})


@hookimpl
def jidoteki_event(event: Event, config: Mapping[str, Any]) -> None:
    if event.action == "authentication.failure":
        with Path(config["file"]).open("a") as file:
            file.write(f"{event.time:.0f} {event.client} {event.target}\n")

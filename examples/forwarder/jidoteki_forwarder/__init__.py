"""Forwards audit lines and job events to syslog and to a webhook; what cannot be sent waits on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Event, hookimpl
from jidoteki_forwarder.destinations import syslog_address, web_address
from jidoteki_forwarder.forwarder import Forwarder

JIDOTEKI_CONTRACT = "1.0"

forwarder = Forwarder()


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    """Where to send to; a destination that is not named gets nothing."""
    count: Any = vol.All(int, vol.Range(1, 1_000_000))
    seconds: Any = vol.All(vol.Any(int, float), vol.Range(0.1, 86400))
    return vol.Schema(
        {
            vol.Optional("syslog"): syslog_address,
            vol.Optional("webhook"): web_address,
            vol.Optional("webhook-token"): vol.All(str, vol.Match("^[!-~]+$", "must be printable ASCII")),
            vol.Optional("max-waiting", default=10_000): count,
            vol.Optional("longest-pause", default=60): seconds,
        }
    )


@hookimpl
async def jidoteki_startup(appliance: Appliance, config: Mapping[str, Any]) -> None:
    """Begin to send what waits from before."""
    await asyncio.to_thread(forwarder.start, appliance, config)


@hookimpl
def jidoteki_event(event: Event, config: Mapping[str, Any]) -> None:
    """Put an event on the disk, to be sent; a configuration that was read again is in force from here on."""
    forwarder.forward(event, config)


@hookimpl
def jidoteki_services() -> list[tuple[str, bool]]:
    """Whether each destination takes what it is sent."""
    return [(f"forwarder-{name}", sender.reaches) for name, sender in forwarder.senders.items()]


@hookimpl
def jidoteki_health() -> dict[str, Any]:
    """How many events wait, and how many were dropped because too many waited."""
    return {
        name: {"waiting": len(each.spool), "dropped": each.spool.dropped} for name, each in forwarder.senders.items()
    }


@hookimpl
async def jidoteki_shutdown() -> None:
    """Stop sending; what comes later waits on the disk for the next start."""
    await asyncio.to_thread(forwarder.stop)

"""The validators of `POST /settings` (section 8 of the API reference, with stricter checks of addresses)."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Label
from jidoteki.hookspecs.explanations import MAX_ECHO
from jidoteki.hookspecs.validators import (
    address,
    described,
    hostname,
    interface,
    json_document,
    netmask,
    or_number,
    prefix_length,
    server,
    strict,
    together,
)


def with_mode(network: dict[str, Any]) -> dict[str, Any]:
    """Return the network settings with the `mode`, `static` or `dhcp`, that follows from their addresses."""
    static = all(network.get(key) for key in ("ip_address", "netmask", "gateway"))
    return {**network, "mode": "static" if static else "dhcp"}


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with the mode of the network; add `warnings` if another mode was sent."""
    if "network" not in settings:
        return settings
    network = with_mode(settings["network"])
    sent = settings["network"].get("mode", network["mode"])
    if sent.lower() == network["mode"]:
        return {**settings, "network": network}
    given = "with" if network["mode"] == "static" else "without"
    told = f"mode {sent[:MAX_ECHO]!a} has no effect: {given} ip_address, netmask and gateway it is {network['mode']}"
    return {**settings, "network": network, "warnings": [told]}


def one_family(network: dict[str, Any]) -> dict[str, Any]:
    """Return the network settings, or raise voluptuous.Invalid if the host's own addresses mix IPv4 and IPv6."""
    if "ip_address" not in network:
        return network
    version = ipaddress.ip_address(network["ip_address"]).version
    if ipaddress.ip_address(network["gateway"]).version != version:
        raise vol.Invalid(f"must be an IPv{version} address as ip_address is", path=["gateway"])
    try:
        prefix_length(network["netmask"], version)
    except ValueError:
        raise vol.Invalid(
            f"must be an IPv{version} netmask or prefix length, as ip_address is", path=["netmask"]
        ) from None
    return network


def mode_as_set(network: dict[str, Any]) -> dict[str, Any]:
    """Return the network settings, or raise voluptuous.Invalid if their mode is not the one that they set."""
    if network.get("mode") != with_mode(network)["mode"]:
        raise vol.Invalid("must be the one that the addresses set", path=["mode"])
    return network


def without_pending(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings without what GET shows beside them while a change waits for its confirmation."""
    return {name: value for name, value in settings.items() if name != "pending"}


def not_empty(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings, or raise voluptuous.Invalid if they are empty."""
    if not settings:
        raise vol.Invalid("must hold network, app or both")
    return settings


@described(
    {
        "type": "string",
        "enum": ["dhcp", "static"],
        "description": "What GET shows; the addresses alone decide, and warnings tell if it differs",
    }
)
def mode(value: object) -> str:
    """Accept any text: the original ignores it, and what sets it has always been the addresses."""
    if not isinstance(value, str):
        raise vol.Invalid("must be a string")
    return value


ADDRESS_LABELS: Final = {
    "ip_address": Label("IP address"),
    "netmask": Label("Netmask"),
    "gateway": Label("Gateway"),
}

NETWORK: Final = vol.All(
    strict(
        {
            vol.Optional("mode", description=Label("Mode")): mode,
            vol.Required("interface", description=Label("Interface")): or_number(interface),
            vol.Required("hostname", description=Label("Host name")): or_number(hostname),
            **together(ADDRESS_LABELS, ip_address=address, netmask=or_number(netmask, 128), gateway=address),
            vol.Optional("dns1", description=Label("First DNS server")): address,
            vol.Optional("dns2", description=Label("Second DNS server")): address,
            vol.Optional("ntpserver", description=Label("Time server")): or_number(server),
        },
        empty_is_absent=True,
    ),
    one_family,
)

#: What the job is given: settings as `checked` returns them.
INPUT: Final = vol.Schema(
    {
        vol.Optional("network"): vol.All(NETWORK, mode_as_set),
        vol.Optional("app"): dict,
        vol.Optional("warnings"): [str],
    }
)

SETTINGS: Final = json_document(
    vol.All(
        strict(
            {
                vol.Optional("network", description=Label("Network")): NETWORK,
                vol.Optional("app", description=Label("Application")): dict,
                vol.Optional(
                    "pending", description=Label("On trial", "What GET shows meanwhile; it has no effect")
                ): dict,
            },
            empty_is_absent=True,
        ),
        without_pending,
        not_empty,
        checked,
    )
)

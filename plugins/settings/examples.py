"""Examples of settings in requests and responses."""

from __future__ import annotations

from typing import Any

NETWORK = {
    "interface": "eth0",
    "hostname": "test.host",
    "ip_address": "192.168.1.100",
    "netmask": "255.255.255.0",
    "gateway": "192.168.1.1",
    "dns1": "192.168.1.2",
    "dns2": "192.168.1.3",
    "ntpserver": "pool.ntp.org",
}
APP = {"name": "testapp"}

POSTED: dict[str, Any] = {
    "Fixed addresses": {"settings": {"network": NETWORK, "app": APP}},
    "DHCP": {"settings": {"network": {"interface": "eth0", "hostname": "test.host"}, "app": APP}},
}

SHOWN = {"network": {**NETWORK, "mode": "static"}, "app": APP}
SHOWN_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "network": {
            "type": "object",
            "properties": {"mode": {"enum": ["static", "dhcp"]}},
        },
        "app": {"type": "object"},
        "pending": {
            "type": "object",
            "description": "What replaces them if it is confirmed with POST /settings/confirm",
            "required": ["seconds-left", "settings"],
            "properties": {"seconds-left": {"type": "integer", "minimum": 0}, "settings": {"type": "object"}},
        },
    },
}

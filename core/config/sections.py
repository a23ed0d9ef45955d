"""The sections of the configuration file: their keys, defaults and validators."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.core import authority as authorities
from jidoteki.hookspecs.validators import described

MIB = 1024 * 1024
#: Where a reverse proxy says which address a request comes from.
FORWARDED = ("X-Forwarded-For", "Forwarded")

whole = vol.All(vol.Any(int, msg="must be a whole number"), lambda value: _refuse_bool(value))
seconds = vol.All(vol.Any(int, float, msg="must be a number of seconds"), vol.Range(min=0.1, max=86400))
command = vol.All([vol.All(str, vol.Length(min=1))], vol.Length(min=1))


@described({"type": "string", "description": "An IP address, or a network such as 10.0.0.0/8"})
def network(value: Any) -> str:
    """Accept an IP address or network."""
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except (ValueError, TypeError) as error:
        raise vol.Invalid("must be an IP address, or a network such as 10.0.0.0/8") from error


@described({"type": "string", "description": "A host name or address, with or without a port"})
def authority(value: Any) -> str:
    """Accept a host name or address, with or without a port."""
    if not isinstance(value, str) or authorities.parse(value) is None:
        raise vol.Invalid("must be a host name or address, with or without a port")
    return value


@described({"type": ["string", "integer"], "description": "The name or number of a group"})
def group(value: Any) -> str | int:
    """Accept the name or number of a group."""
    if isinstance(value, str) and 1 <= len(value) <= 64:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return value
    raise vol.Invalid("must be the name or number of a group")


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise vol.Invalid("must be a whole number")
    return value


def _count(minimum: int, maximum: int) -> vol.All:
    return vol.All(whole, vol.Range(min=minimum, max=maximum))


def _or_null(check: Any) -> vol.Any:
    """Like `vol.Maybe`, but what it says of a wrong value is what `check` says."""
    return vol.Any(check, None)


def _section(keys: Mapping[str, tuple[Any, Any]]) -> Any:
    """A schema of optional keys, given as `{key: (default, validator)}`."""
    return vol.Schema({vol.Optional(key, default=default): check for key, (default, check) in keys.items()})


names = [vol.All(str, vol.Length(min=1, max=64))]

SECTIONS: dict[str, tuple[Any, Any]] = {
    "endpoints": ([], names),
    "parameters": (None, _or_null(names)),
    "first-run": ({}, _section({"enabled": (False, bool), "word-length": (4, _count(3, 32))})),
    "authentication": (
        {},
        _section({"named-tokens": (False, bool), "signatures": (False, bool), "names": ([], [authority])}),
    ),
    "plugins": ({}, {vol.Extra: object}),
    "plugin-directory": (None, _or_null(vol.All(str, vol.Length(min=1)))),
    "listen": (
        {},
        _section(
            {
                "host": (None, vol.Any(str, vol.All([str], vol.Length(min=1, max=16)), None)),
                "port": (None, _or_null(_count(0, 65535))),
                "trusted-proxies": ([], [network]),
                "forwarded-header": (FORWARDED[0], vol.In(FORWARDED)),
            }
        ),
    ),
    "limits": (
        {},
        _section(
            {
                "upload": (16 * 1024 * MIB, _count(1, 1 << 50)),
                "free-space": (16 * MIB, _count(0, 1 << 50)),
                "connections": (1500, _count(1, 100_000)),
                "connections-per-address": (1200, _count(1, 100_000)),
                "failed-authentication-pause": (2, seconds),
                "idle-body": (20, seconds),
                "minimum-upload-rate": (1024, _count(0, 1 << 30)),
                "command": (60, seconds),
            }
        ),
    ),
    "commands": (
        {},
        _section({name: (None, _or_null(command)) for name in ("reboot", "persist", "prefix")}),
    ),
    "update": (
        {},
        _section(
            {
                "legacy-packages": (False, bool),
                "unversioned-packages": (False, bool),
                "script-timeout": (3600, seconds),
                "max-unpacked-size": (16 * 1024 * MIB, _count(1, 1 << 50)),
                "max-members": (1_000_000, _count(1, 100_000_000)),
                "allow-scheme-change-to": (None, _or_null(vol.All(str, vol.Length(min=1, max=64)))),
            }
        ),
    ),
    "files": ({}, _section({"group": (None, _or_null(group))})),
    "health": ({}, _section({"refresh": (60, vol.Union(seconds, 0))})),
}

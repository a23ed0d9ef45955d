"""The sections of the configuration file: their keys, defaults and validators."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple

import voluptuous as vol

from jidoteki.core.addresses import parse_authority
from jidoteki.hookspecs.validators import described

MIB = 1024 * 1024
#: The headers in which reverse proxies send the client's address.
FORWARDED = ("X-Forwarded-For", "Forwarded")

whole = vol.All(vol.Any(int, msg="must be a whole number"), lambda value: _refuse_bool(value))
seconds = vol.All(vol.Any(int, float, msg="must be a number of seconds"), vol.Range(min=0.1, max=86400))
command = vol.All([vol.All(str, vol.Length(min=1))], vol.Length(min=1))


@described({"type": "string", "description": "An IP address, or a network such as 10.0.0.0/8"})
def network(value: Any) -> str:
    """Validate an IP address or network."""
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except (ValueError, TypeError) as error:
        raise vol.Invalid("must be an IP address, or a network such as 10.0.0.0/8") from error


@described({"type": "string", "description": "A host name or address, with or without a port"})
def authority(value: Any) -> str:
    """Validate a host name or address, with or without a port."""
    if not isinstance(value, str) or parse_authority(value) is None:
        raise vol.Invalid("must be a host name or address, with or without a port")
    return value


@described({"type": ["string", "integer"], "description": "The name or number of a group"})
def group(value: Any) -> str | int:
    """Validate the name or number of a group."""
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
    """Return the same as `vol.Maybe`, but with the error message of `check`."""
    return vol.Any(check, None)


class Section(NamedTuple):
    """A top-level key of the file: its default, validator and description."""

    default: Any
    check: Any
    meaning: str


def _section(meaning: str, keys: Mapping[str, tuple[Any, Any, str]]) -> Section:
    """Return a section of optional keys, given as `{key: (default, validator, meaning)}`."""
    checks = {
        vol.Optional(key, default=default, description=means): check for key, (default, check, means) in keys.items()
    }
    return Section({}, vol.Schema(checks), meaning)


names = [vol.All(str, vol.Length(min=1, max=64))]

SECTIONS: dict[str, Section] = {
    "endpoints": Section([], names, "The optional endpoints that are served, third parties' included"),
    "parameters": Section(
        None, _or_null(names), "The form parameters that optional endpoints accept; null for all that they declare"
    ),
    "first-run": _section(
        "How the first setup goes",
        {
            "enabled": (False, bool, "Whether the first setup needs a generated passphrase"),
            "word-length": (4, _count(3, 32), "Words in that passphrase"),
        },
    ),
    "authentication": _section(
        "Ways to authenticate beside the token and its hash",
        {
            "named-tokens": (False, bool, "Whether tokens with a name and a role are accepted"),
            "signatures": (False, bool, "Whether requests signed for a short time are accepted"),
            "names": (
                [],
                [authority],
                "Names of this appliance in signed requests, beside its own, each with or without a port",
            ),
        },
    ),
    "plugins": Section({}, {vol.Extra: object}, "A section for each plugin, as its author documents it"),
    "plugin-directory": Section(
        None, _or_null(vol.All(str, vol.Length(min=1))), "Where one-file plugins lie, below the root"
    ),
    "listen": _section(
        "Where to listen",
        {
            "host": (
                None,
                vol.Any(str, vol.All([str], vol.Length(min=1, max=16)), None),
                "Address to listen on, or a list of them; :: for all of IPv6 and IPv4; null for all, too, at a root "
                "other than / for 127.0.0.1",
            ),
            "port": (None, _or_null(_count(0, 65535)), "HTTPS port, 0 for a free one; null for 8443"),
            "trusted-proxies": (
                [],
                [network],
                "Reverse proxies, as addresses or networks, whose word about a client's address counts",
            ),
            "forwarded-header": (FORWARDED[0], vol.In(FORWARDED), "The header in which they say it"),
        },
    ),
    "limits": _section(
        "What the service takes on",
        {
            "upload": (16 * 1024 * MIB, _count(1, 1 << 50), "Longest uploaded file, in bytes"),
            "free-space": (16 * MIB, _count(0, 1 << 50), "What uploads, backups and unpacking leave free, in bytes"),
            "connections": (1500, _count(1, 100_000), "Connections at once"),
            "connections-per-address": (1200, _count(1, 100_000), "Connections at once of one address"),
            "failed-authentication-pause": (2, seconds, "Seconds between two failed guesses of one address"),
            "idle-body": (
                20,
                seconds,
                "Seconds without a byte of a request's body; an answer may stand still for three times as long",
            ),
            "minimum-upload-rate": (
                1024,
                _count(0, 1 << 30),
                "Bytes a second of a body after 30 seconds, and of an answer; 0 for any",
            ),
            "command": (60, seconds, "Seconds for each vendor command and each line of debug.txt"),
        },
    ),
    "commands": _section(
        "Programs of the vendor, each as a list of its name and arguments",
        {
            "reboot": (
                None,
                _or_null(command),
                "Reboots the machine; null for reboot, at a root other than / for nothing",
            ),
            "persist": (
                None,
                _or_null(command),
                "Keeps the system's data: before a reboot and after each change; null for the original's commands "
                "where /usr/bin/symlinktool.sh is there",
            ),
        },
    ),
    "jobs": _section(
        "Jobs that run the vendor's programs, or need root for something else",
        {
            "run-as": (
                "process",
                vol.In(("process", "unit")),
                "process: as a process of the service, with its rights; unit: as jidoteki-job@ID.service, with root's",
            ),
        },
    ),
    "update": _section(
        "Update packages",
        {
            "legacy-packages": (False, bool, "Whether packages encrypted with -md md5 and no PBKDF2 are accepted"),
            "unversioned-packages": (
                False,
                bool,
                "Whether packages without version.txt are accepted, any of them at any time",
            ),
            "script-timeout": (3600, seconds, "Seconds for update.sh"),
            "verify": (
                None,
                _or_null(command),
                "A program that verifies each update after its update.sh; null for none",
            ),
            "verify-timeout": (300, seconds, "Seconds for that, and for the verify.sh of a package"),
            "reboot-timeout": (600, seconds, "Seconds within which the system goes down where a package restarts it"),
            "max-unpacked-size": (16 * 1024 * MIB, _count(1, 1 << 50), "Bytes that a package may unpack to"),
            "max-members": (1_000_000, _count(1, 100_000_000), "Files and directories that a package may hold"),
            "allow-scheme-change-to": (
                None,
                _or_null(vol.All(str, vol.Length(min=1, max=64))),
                "A version that is accepted although it cannot be compared with the installed one",
            ),
            "product": (
                None,
                _or_null(vol.All(str, vol.Length(min=1, max=128))),
                "What this appliance is: packages that say they are for another product are refused; null for any",
            ),
        },
    ),
    "files": _section(
        "Files that the service makes",
        {
            "group": (
                None,
                _or_null(group),
                "Who else may read files that are not for everybody, by name or number; null for the group that may "
                "make files in ADMIN/etc, if it is neither root's nor the service's own",
            )
        },
    ),
    "health": _section(
        "The figures of /health",
        {
            "refresh": (
                60,
                vol.Union(seconds, 0),
                "Seconds between two measurements; 0 leaves health.json to the vendor's collector",
            )
        },
    ),
}

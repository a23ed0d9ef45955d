"""The configuration: one JSON file, of which every valid part counts even when another part is broken."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import voluptuous as vol

MIB = 1024 * 1024
MAX_SIZE = MIB

#: Parameters of the reference that its own example configuration does not list, yet its endpoints need.
MANDATORY_PARAMETERS = ("newtoken", "update", "settings")

whole = vol.All(vol.Any(int, msg="must be a whole number"), lambda value: _refuse_bool(value))
seconds = vol.All(vol.Any(int, float, msg="must be a number of seconds"), vol.Range(min=0.1, max=86400))
command = vol.All([vol.All(str, vol.Length(min=1))], vol.Length(min=1))


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise vol.Invalid("must be a whole number")
    return value


def _count(minimum: int, maximum: int) -> vol.All:
    return vol.All(whole, vol.Range(min=minimum, max=maximum))


def _section(keys: Mapping[str, tuple[Any, Any]]) -> Any:
    """A schema of optional keys, given as `{key: (default, validator)}`."""
    return vol.Schema({vol.Optional(key, default=default): check for key, (default, check) in keys.items()})


names = [vol.All(str, vol.Length(min=1, max=64))]

SECTIONS: dict[str, tuple[Any, Any]] = {
    "endpoints": ([], names),
    "parameters": (None, vol.Maybe(names)),
    "first-run": ({}, _section({"enabled": (False, bool), "word-length": (4, _count(3, 32))})),
    "plugins": ({}, {vol.Extra: object}),
    "plugin-directory": (None, vol.Maybe(vol.All(str, vol.Length(min=1)))),
    "listen": (
        {},
        _section({"host": (None, vol.Maybe(str)), "port": (None, vol.Maybe(_count(0, 65535)))}),
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
        _section({"reboot": (None, vol.Maybe(command)), "persist": (None, vol.Maybe(command))}),
    ),
    "update": (
        {},
        _section(
            {
                "legacy-packages": (False, bool),
                "script-timeout": (3600, seconds),
                "max-unpacked-size": (16 * 1024 * MIB, _count(1, 1 << 50)),
                "max-members": (1_000_000, _count(1, 100_000_000)),
            }
        ),
    ),
    "health": ({}, _section({"refresh": (60, vol.Any(0, seconds))})),
}


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force, defaults filled in, and what is wrong with the file."""

    settings: Mapping[str, Any]
    problems: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def endpoints(self) -> frozenset[str]:
        """The names of the optional endpoints that are enabled."""
        return frozenset(self.settings["endpoints"])

    @property
    def parameters(self) -> frozenset[str] | None:
        """The form parameters that optional endpoints accept; None for all that they declare."""
        listed = self.settings["parameters"]
        return None if listed is None else frozenset(listed) | frozenset(MANDATORY_PARAMETERS)

    @property
    def first_run(self) -> bool:
        """Whether the first setup needs the generated passphrase."""
        return bool(self.settings["first-run"]["enabled"])


def defaults() -> dict[str, Any]:
    """The configuration of an appliance that has no configuration file."""
    return {name: vol.Schema(check)(default) for name, (default, check) in SECTIONS.items()}


def load(path: Path) -> Config:
    """Read the configuration; never raises: what cannot be used is replaced by its default and told in `problems`."""
    settings = defaults()
    try:
        document = _read(path)
    except FileNotFoundError:
        return Config(settings, (), path)
    except (OSError, ValueError, RecursionError) as error:
        return Config(settings, (f"{path}: {error}",), path)
    problems = []
    for name, value in document.items():
        if name not in SECTIONS:
            problems.append(f"{path}: unknown key {name!r}{nearest(name, SECTIONS)}")
            continue
        settings[name], wrong = _salvage(name, value)
        problems += [f"{path}: {each}" for each in wrong]
    return Config(settings, tuple(problems), path)


def _salvage(name: str, value: Any) -> tuple[Any, list[str]]:
    """Validate one section, leaving out the keys that are wrong; what guards the appliance fails closed."""
    default, check = SECTIONS[name]
    schema = vol.Schema(check)
    try:
        return schema(value), []
    except vol.Invalid as error:
        wrong = _errors(error)
    problems = [_where(name, each) for each in wrong]
    broken = {each.path[0] for each in wrong if each.path}
    if isinstance(value, dict) and broken and all(each.path for each in wrong):
        section = schema({key: kept for key, kept in value.items() if key not in broken})
    else:
        section = schema(default)
        broken = {"enabled"}
    if name == "first-run" and "enabled" in broken:
        section["enabled"] = True
    return section, problems


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise ValueError(f"longer than {MAX_SIZE} bytes")
    try:
        document = json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    if not isinstance(document, dict):
        raise ValueError("must hold a JSON object")
    return document


def _errors(error: vol.Invalid) -> list[vol.Invalid]:
    return list(error.errors) if isinstance(error, vol.MultipleInvalid) else [error]


def _where(name: str, error: vol.Invalid) -> str:
    path = ".".join(str(part) for part in (name, *error.path))
    hint = ""
    if error.error_message == "extra keys not allowed":
        known = [str(key) for key in SECTIONS[name][1].schema] if isinstance(SECTIONS[name][1], vol.Schema) else []
        hint = nearest(str(error.path[-1]), known)
    return f"{path}: {error.error_message}{hint}"


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for the known word nearest to `word`, or nothing."""
    close = difflib.get_close_matches(word, [str(each) for each in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

"""The configuration: one JSON file, of which every valid part counts even when another part is broken."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import voluptuous as vol

from jidoteki.core.json_positions import Keys, Positions
from jidoteki.hookspecs import paths
from jidoteki.hookspecs.explanations import MAX_ECHO, clip, explain

MIB = 1024 * 1024
MAX_SIZE = MIB
#: Where editors find the JSON Schema of the file; means nothing to the service.
SCHEMA_KEY = "$schema"
UNKNOWN = "is unknown"

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
    "authentication": ({}, _section({"named-tokens": (False, bool), "signatures": (False, bool)})),
    "plugins": ({}, {vol.Extra: object}),
    "plugin-directory": (None, _or_null(vol.All(str, vol.Length(min=1)))),
    "listen": (
        {},
        _section({"host": (None, _or_null(str)), "port": (None, _or_null(_count(0, 65535)))}),
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
                "script-timeout": (3600, seconds),
                "max-unpacked-size": (16 * 1024 * MIB, _count(1, 1 << 50)),
                "max-members": (1_000_000, _count(1, 100_000_000)),
            }
        ),
    ),
    "health": ({}, _section({"refresh": (60, vol.Union(seconds, 0))})),
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something in the configuration file that cannot be used."""

    keys: Keys
    """The key that it is about; none where it is the file itself."""
    message: str
    """A sentence that begins with the key."""
    line: int = 0
    """Counted from 1; 0 where there is none."""
    column: int = 0

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force, defaults filled in, and what is wrong with the file."""

    settings: Mapping[str, Any]
    mistakes: tuple[Mistake, ...] = ()
    path: Path | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """The mistakes in words, with file, line and column."""
        return tuple(f"{self.path}:{' ' if not each.line else ''}{each}" for each in self.mistakes)

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
        text = read(path)
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("must hold a JSON object")
        positions = Positions(text)
    except FileNotFoundError:
        return Config(settings, (), path)
    except json.JSONDecodeError as error:
        return Config(settings, (Mistake((), error.msg, error.lineno, error.colno),), path)
    except (OSError, ValueError, RecursionError) as error:
        return Config(settings, (Mistake((), _in_words(error)),), path)
    mistakes = [Mistake(each, f"{named(each)} comes twice", *place) for each, *place in positions.twice]
    for name, value in document.items():
        if name in SECTIONS:
            settings[name], wrong = _salvage(name, value)
            mistakes += [Mistake(keys, message, *positions.of(keys)) for keys, message in wrong]
        elif name != SCHEMA_KEY:
            message = f"{clip(name, MAX_ECHO)} {UNKNOWN}{nearest(name, SECTIONS)}"
            mistakes.append(Mistake((name,), message, *positions.of((name,))))
    return Config(settings, tuple(mistakes), path)


def _salvage(name: str, value: Any) -> tuple[Any, list[tuple[Keys, str]]]:
    """Validate one section, leaving out the keys that are wrong; what guards the appliance fails closed."""
    default, check = SECTIONS[name]
    schema = vol.Schema(check)
    try:
        return schema(value), []
    except vol.Invalid as error:
        wrong = _errors(error)
    mistakes = [_mistake(name, each) for each in wrong]
    broken = {each.path[0] for each in wrong if each.path}
    if isinstance(value, dict) and broken and all(each.path for each in wrong):
        section = schema({key: kept for key, kept in value.items() if key not in broken})
    else:
        section = schema(default)
        broken = {"enabled"}
    if name == "first-run" and "enabled" in broken:
        section["enabled"] = True
    return section, mistakes


def read(path: Path) -> str:
    """Return the text of a configuration file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is too long, or not UTF-8.
    """
    with open(paths.open_regular(path, follow=True), "rb") as file:
        content = file.read(MAX_SIZE + 1) or b""
    if len(content) > MAX_SIZE:
        raise ValueError(f"must not be longer than {MAX_SIZE} bytes")
    return content.decode("utf-8-sig")


def _errors(error: vol.Invalid) -> list[vol.Invalid]:
    return list(error.errors) if isinstance(error, vol.MultipleInvalid) else [error]


def _mistake(name: str, error: vol.Invalid) -> tuple[Keys, str]:
    keys: Keys = (name, *(each if isinstance(each, int) else str(each) for each in error.path))
    message = explain(error, name)
    if message.endswith(UNKNOWN) and isinstance(SECTIONS[name][1], vol.Schema):
        message += nearest(str(keys[-1]), [str(key) for key in SECTIONS[name][1].schema])
    return keys, message


def named(keys: Keys) -> str:
    """`limits.upload`, `endpoints[1]`."""
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in keys).removeprefix(".")


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    if isinstance(error, UnicodeDecodeError):
        return f"must be UTF-8 text, and byte {error.start + 1} is not"
    return "is nested too deeply" if isinstance(error, RecursionError) else str(error)


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for the known word nearest to `word`, or nothing."""
    close = difflib.get_close_matches(word, [str(each) for each in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

"""Loading the configuration, a JSON file: its valid parts take effect even when others are broken."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import voluptuous as vol

from jidoteki.core import files
from jidoteki.core.config.positions import Keys, Positions
from jidoteki.core.config.sections import SECTIONS
from jidoteki.hookspecs import paths
from jidoteki.hookspecs.explanations import MAX_ECHO, clip, explain

MAX_SIZE = 1024 * 1024
#: The key by which editors find the JSON Schema of the file; ignored by the service.
SCHEMA_KEY = "$schema"
UNKNOWN = "is unknown"
#: Keys of earlier versions, and what is done in place of them.
GONE: Mapping[Keys, str] = {
    (
        "commands",
        "prefix",
    ): 'Remove it; "jobs": {"run-as": "unit"} lets root run what needs root, as docs/vendors.md says.',
}

#: Parameters that the reference's endpoints need, but its example configuration does not list.
MANDATORY_PARAMETERS = ("newtoken", "update", "settings")


@dataclass(frozen=True, slots=True)
class Mistake:
    """An error in the configuration file."""

    keys: Keys
    """The path of the wrong key; empty where the file itself is wrong."""
    message: str
    """A sentence that begins with the key."""
    line: int = 0
    """Counted from 1; 0 where unknown."""
    column: int = 0

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class Config:
    """The active configuration, with its defaults, and the mistakes in its file."""

    values: Mapping[str, Any]
    mistakes: tuple[Mistake, ...] = ()
    path: Path | None = None
    text: str | None = None
    """The content of the file, if it could be read."""

    @property
    def problems(self) -> tuple[str, ...]:
        """The mistakes as sentences, with file, line and column."""
        return tuple(f"{self.path}:{' ' if not each.line else ''}{each}" for each in self.mistakes)

    @property
    def endpoints(self) -> frozenset[str]:
        """The names of the enabled optional endpoints."""
        return frozenset(self.values["endpoints"])

    @property
    def parameters(self) -> frozenset[str] | None:
        """The form parameters that optional endpoints accept; None for all that they declare."""
        listed = self.values["parameters"]
        return None if listed is None else frozenset(listed) | frozenset(MANDATORY_PARAMETERS)

    @property
    def first_run(self) -> bool:
        """Whether the first setup needs the generated passphrase."""
        return bool(self.values["first-run"]["enabled"])


def defaults() -> dict[str, Any]:
    """Return the configuration of an appliance without a configuration file."""
    return {name: vol.Schema(section.check)(section.default) for name, section in SECTIONS.items()}


def load(path: Path, last_good: Path | None = None, in_force: Mapping[str, Any] | None = None) -> Config:
    """Load the configuration; never raises: mistakes are listed in `problems`, and their keys keep former values.

    An unusable file is replaced by the last good one; without that, first runs count as enabled. Single wrong keys keep
    the active value, or that of the last good file, or the default.

    :param last_good: a copy of the last file that could be read, as a fallback.
    :param in_force: the active values of the running service.
    """
    try:
        return _understood(read(path), path, in_force or _values_in(last_good))
    except FileNotFoundError as error:
        mistake, default = Mistake((), _in_words(error)), Config(defaults(), (), path)
    except json.JSONDecodeError as error:
        mistake, default = Mistake((), error.msg, error.lineno, error.colno), None
    except (OSError, ValueError, RecursionError) as error:
        mistake, default = Mistake((), _in_words(error)), None
    if last_good is not None:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            kept = _understood(read(last_good), path)
            return Config(kept.values, (mistake, Mistake((), "the last good configuration is in force")), path)
    if default is not None:
        return default
    values = defaults()
    values["first-run"]["enabled"] = True
    return Config(values, (mistake,), path)


def _values_in(last_good: Path | None) -> Mapping[str, Any] | None:
    if last_good is not None:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            return _understood(read(last_good), last_good).values
    return None


def keep(config: Config, last_good: Path) -> None:
    """Save a configuration as the last good one, if its file could be read.

    :raises OSError: it cannot be stored.
    """
    if config.text is None:
        return
    # If the file has mistakes, the active values are more than its content.
    text = json.dumps(config.values) if config.mistakes else config.text
    with contextlib.suppress(OSError, ValueError):
        if read(last_good) == text:
            return
    files.replace_file(last_good, text.encode(), 0o600)


def _understood(text: str, path: Path, former: Mapping[str, Any] | None = None) -> Config:
    """Parse the text of a configuration file.

    :param former: values to use in place of wrong ones.
    :raises ValueError: it is not a JSON object.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("must hold a JSON object")
    values, positions = defaults(), Positions(text)
    mistakes = [Mistake(each, f"{named(each)} comes twice", *place) for each, *place in positions.twice]
    for name, value in document.items():
        if name in SECTIONS:
            values[name], wrong = _salvage(name, value, (former or {}).get(name))
            mistakes += [Mistake(keys, message, *positions.of(keys)) for keys, message in wrong]
        elif name != SCHEMA_KEY:
            message = f"{clip(name, MAX_ECHO)} {UNKNOWN}{nearest(name, SECTIONS)}"
            mistakes.append(Mistake((name,), message, *positions.of((name,))))
    return Config(values, tuple(mistakes), path, text)


def _salvage(name: str, value: Any, former: Any = None) -> tuple[Any, list[tuple[Keys, str]]]:
    """Validate one section, with former values for wrong keys; a key that protects the appliance fails closed."""
    default, check, _ = SECTIONS[name]
    schema = vol.Schema(check)
    try:
        return schema(value), []
    except vol.Invalid as error:
        wrong = _errors(error)
    mistakes = [_mistake(name, each) for each in wrong]
    broken = {each.path[0] for each in wrong if each.path}
    if isinstance(value, dict) and broken and all(each.path for each in wrong):
        stay = {key: former[key] for key in broken if key in former} if isinstance(former, dict) else {}
        section = schema({**stay, **{key: kept for key, kept in value.items() if key not in broken}})
    else:
        section = schema(default if former is None else former)
        broken = {"enabled"}
    if name == "first-run" and "enabled" in broken:
        section["enabled"] = True
    return section, mistakes


def read(path: Path) -> str:
    """Return the text of a configuration file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is too long, or not UTF-8.
    """
    try:
        content = paths.read_regular(path, MAX_SIZE, follow=True)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ValueError(f"must not be longer than {MAX_SIZE} bytes") from error
        raise
    return content.decode("utf-8-sig")


def _errors(error: vol.Invalid) -> list[vol.Invalid]:
    return list(error.errors) if isinstance(error, vol.MultipleInvalid) else [error]


def _mistake(name: str, error: vol.Invalid) -> tuple[Keys, str]:
    keys: Keys = (name, *(each if isinstance(each, int) else str(each) for each in error.path))
    if keys in GONE:
        return keys, f"{named(keys)} has no effect any more"
    message = explain(error, name)
    if message.endswith(UNKNOWN) and isinstance(SECTIONS[name].check, vol.Schema):
        message += nearest(str(keys[-1]), [str(key) for key in SECTIONS[name].check.schema])
    return keys, message


def named(keys: Keys) -> str:
    """Return a path of keys as text, such as `limits.upload` or `endpoints[1]`."""
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in keys).removeprefix(".")


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    if isinstance(error, UnicodeDecodeError):
        return f"must be UTF-8 text, and byte {error.start + 1} is not"
    return "is nested too deeply" if isinstance(error, RecursionError) else str(error)


def nearest(word: str, known: Any) -> str:
    """Return `; did you mean 'x'?` with the known word most similar to `word`, or an empty string."""
    close = difflib.get_close_matches(word, [str(each) for each in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

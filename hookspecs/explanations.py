"""Error messages for refused requests: they name the parameter and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import takewhile
from typing import Final

import voluptuous as vol
from voluptuous.schema_builder import VirtualPathComponent

MAX_ECHO: Final = 64
"""Characters of a client's input that an error message repeats at most."""
MAX_SENTENCE: Final = 400


def explain(error: vol.Invalid, prefix: str = "") -> str:
    """Return one sentence of printable ASCII that names the parameter and says what is allowed.

    It repeats at most MAX_ECHO characters of the client's input, as long as the validators' messages repeat none.

    :param error: the exception that a voluptuous schema raised; of several errors the first is explained.
    :param prefix: a name to put before the error's path.
    """
    error = _first(error)
    path = _path(error)
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in ([prefix] if prefix else []) + path)
    return clip(f"{clip(name.removeprefix('.'), MAX_ECHO) or 'value'} {_predicate(error)}", MAX_SENTENCE)


def field_at_fault(error: vol.Invalid, prefix: str = "") -> str:
    """Return the JSON pointer of the value that `explain` names.

    :param prefix: a name to put before the error's path.
    """
    return pointer(*([prefix] if prefix else []), *_path(_first(error)))


def pointer(*path: object) -> str:
    """Return a JSON pointer (RFC 6901), such as `/settings/network`.

    :param path: keys and indexes. It ends before the first that is longer than MAX_ECHO: a pointer is exact or shorter,
        and repeats little of what a client sent.
    """
    shown = takewhile(lambda part: len(part) <= MAX_ECHO, map(str, path))
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in shown)


def _path(error: vol.Invalid) -> list[object]:
    return [part for part in error.path if not isinstance(part, VirtualPathComponent)]


def _first(error: vol.Invalid) -> vol.Invalid:
    """Return the first error; missing keys come last, sorted by name, as voluptuous keeps them in a set."""
    while isinstance(error, vol.MultipleInvalid):
        if not error.errors:
            return vol.Invalid("is not valid")
        error = min(error.errors, key=lambda each: str(each.path) if isinstance(each, vol.RequiredFieldInvalid) else "")
    return error


_TYPES: Final = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "an object",
    "a dictionary": "an object",
}
_OWN_WORDS: Final = {"required key not provided": "is required", "extra keys not allowed": "is unknown"}


def _predicate(error: vol.Invalid) -> str:
    message = _OWN_WORDS.get(error.msg, error.msg).removeprefix("value ")
    if message.startswith("expected "):
        expected = message.removeprefix("expected ")
        return f"must be {_TYPES.get(expected, expected)}"
    if message.startswith("not "):
        return f"is {message}"
    return message if message.startswith(("must ", "is ", "needs ")) else f"is refused: {message}"


def clip(text: str, length: int) -> str:
    """Return at most `length` characters of `text`, with `?` for all but printable ASCII."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in text[: length + 1])
    return shown if len(shown) <= length else f"{shown[: length - 3]}..."


def unknown(key: object, known: Iterable[str]) -> vol.Invalid:
    """Return the error for an unknown key; it names the most similar known key, or all when none is similar."""
    names = sorted(known)
    near = difflib.get_close_matches(str(key)[:MAX_ECHO], names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(names) or 'none'}"
    return vol.Invalid(f"is unknown; {hint}", path=[str(key)])

"""Patterns of a document in a form that every dialect of JavaScript's regular expressions takes.

`pattern` of an HTML input is compiled with the flag `v`, under which a `-`, `/`, bracket or bar that means itself must
be escaped inside `[…]`, and JSON Schema with `u`, which allows just these escapes there. A browser ignores a pattern
that it cannot compile. https://html.spec.whatwg.org/multipage/input.html#the-pattern-attribute
"""

from __future__ import annotations

import re
from typing import Any

_CLASS = re.compile(r"\\.|\[(\^?)((?:\\.|[^\]\\])*)\]", re.DOTALL)
_MEMBER = re.compile(r"(\\.|[^\\])-(\\.|[^\\])|\\.|[-/(){}|\[]", re.DOTALL)
_SPECIAL = frozenset("-/(){}|[")
#: What is under these keys is data of clients, and no schema.
_DATA = frozenset({"const", "default", "enum", "example", "examples"})


def portable(pattern: str) -> str:
    """Return a regular expression that means the same with the flags `u` and `v`."""
    return _CLASS.sub(lambda found: found[0] if found[2] is None else f"[{found[1]}{_escaped(found[2])}]", pattern)


def in_document(value: Any) -> Any:
    """Return a part of a document whose patterns are portable."""
    if isinstance(value, list):
        return [in_document(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: each
        if key in _DATA
        else portable(each)
        if key == "pattern" and isinstance(each, str)
        else in_document(each)
        for key, each in value.items()
    }


def _escaped(members: str) -> str:
    return _MEMBER.sub(lambda found: f"{_own(found[1])}-{_own(found[2])}" if found[1] else _own(found[0]), members)


def _own(character: str) -> str:
    return f"\\{character}" if character in _SPECIAL else character

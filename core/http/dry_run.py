"""`dry-run=1` in the query: whether a request asks for a preview in place of the change."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container
from typing import Final

from multidict import MultiMapping

from jidoteki.hookspecs import ApiError

NAME: Final = "dry-run"
_OFF: Final = ("0", "false")
_ON: Final = ("", "1", "true")
#: Longer names are not taken for a misspelling.
_LONGEST: Final = 16
_NEAR: Final = 0.8


def is_asked_for(query: MultiMapping[str], known: Container[str]) -> bool:
    """Return whether a change is only to be previewed.

    A misspelling would make the change, so any name that resembles the parameter's is refused.

    :param known: the parameters of the endpoint, which may have any name.
    :raises ApiError: 400, it is misspelt, given twice, or neither 1 nor 0.
    """
    for name in set(query):
        if name != NAME and name not in known and is_near(name, NAME):
            raise ApiError(400, f"{name} is unknown; did you mean {NAME}? Nothing was done")
    values = query.getall(NAME, ["0"])
    if len(values) > 1:
        raise ApiError(400, f"{NAME} is given twice")
    if values[0] not in (*_OFF, *_ON):
        raise ApiError(400, f"{NAME} must be 1 or 0")
    return values[0] in _ON


def is_near(name: str, wanted: str) -> bool:
    """Return whether a name is likely a misspelling of a parameter's."""
    letters = re.sub("[^a-z]", "", name.lower())
    return len(name) <= _LONGEST and bool(difflib.get_close_matches(letters, [wanted.replace("-", "")], cutoff=_NEAR))

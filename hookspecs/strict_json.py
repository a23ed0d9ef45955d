"""Parsing JSON that is passed on as JSON: Python accepts NaN, Infinity and 1e999, which other parsers refuse."""

from __future__ import annotations

import json
import math
from typing import Any


def loads(content: str | bytes) -> Any:
    """Parse a JSON text (RFC 8259).

    :raises ValueError: it is not JSON, or holds a number that is not finite.
    :raises RecursionError: it is nested too deeply.
    """
    return json.loads(content, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not JSON")
    return number

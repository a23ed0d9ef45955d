"""JSON of others that is to be answered as JSON: Python reads NaN, Infinity and 1e999, which nobody else does."""

from __future__ import annotations

import json
import math
from typing import Any


def loads(content: str | bytes) -> Any:
    """Parse a JSON text (RFC 8259).

    :raises ValueError: it is none, or holds a number that is not finite.
    :raises RecursionError: it is nested too deeply.
    """
    return json.loads(content, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not JSON")
    return number

"""JSON documents sent as form parameters."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, final

import voluptuous as vol

from jidoteki.hookspecs.explanations import MAX_ECHO, clip


@final
class json_document:
    """A validator of JSON text (RFC 8259) in UTF-8, with or without a byte order mark, whose value passes `schema`.

    Beyond what `json` refuses, it refuses duplicate keys, NaN, infinities (`1e999` is one) and lone surrogates.

    :param schema: a voluptuous schema.
    :param max_depth: levels of nested arrays and objects.
    """

    def __init__(self, schema: Any, max_depth: int = 32) -> None:
        self.schema: Final = vol.Schema(schema)
        self.max_depth: Final = max_depth

    def __call__(self, content: bytes) -> Any:
        """Return the validated value, or raise voluptuous.Invalid."""
        value = _parse(content, self.max_depth)
        _check_values(value, self.max_depth)
        return self.schema(value)


def _parse(content: bytes, max_depth: int) -> Any:
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise vol.Invalid(f"must be UTF-8 text, and byte {error.start + 1} is not") from None
    except json.JSONDecodeError as error:
        raise vol.Invalid(f"must be JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise vol.Invalid("must not hold a number of more than 4300 digits") from None
    except RecursionError:
        raise _too_deep(max_depth) from None


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise vol.Invalid(f"must hold the key {clip(twice, MAX_ECHO // 2)} once only")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise vol.Invalid("must hold finite numbers only, no NaN or infinity")
    return number


def _check_values(value: Any, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth + 1):
        if any(isinstance(item, str) and not _is_text(item) for item in level):
            raise vol.Invalid("must hold Unicode text only, no lone surrogates")
        containers = [item for item in level if isinstance(item, (dict, list))]
        if not containers:
            return
        level = [child for container in containers for child in _children(container)]
    raise _too_deep(max_depth)


def _children(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else container


def _is_text(item: str) -> bool:
    return item.isascii() or not re.search("[\ud800-\udfff]", item)


def _too_deep(max_depth: int) -> vol.Invalid:
    return vol.Invalid(f"must be nested at most {max_depth} levels deep")

"""What `jidoteki check` finds about named tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jidoteki.hookspecs import Finding

OFF = "named tokens do not count here: authentication.named-tokens is not true in the configuration"


def check(host_config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield why no named token can be made."""
    if not host_config["authentication"]["named-tokens"]:
        advice = 'Add "authentication": {"named-tokens": true}, or take tokens out of endpoints.'
        yield Finding("warning", "tokens", f"POST /tokens makes none: {OFF}", advice)

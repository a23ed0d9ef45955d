"""The check, by `jidoteki check`, of the script that applies network settings."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator

from jidoteki.hookspecs import Appliance, Finding, scripts

MAX_LOOKED_AT = 100


def check(appliance: Appliance) -> Iterator[Finding]:
    """Report a missing `network.sh`; at a root other than `/` only if a file has a similar name."""
    path = appliance.bin / "network.sh"
    names = [each.name for each in itertools.islice(sorted(appliance.bin.glob("*")), MAX_LOOKED_AT)]
    similar = difflib.get_close_matches(path.name, names, cutoff=0.75)
    if scripts.exists(path) or not (similar or str(appliance.root) == "/"):
        return
    message = "there is none: new network settings are stored, and nothing puts them into force unless a plugin does"
    advice = f"Rename {similar[0]}, if that is to be it." if similar else "Write one, or a plugin that does it."
    yield Finding("note", "script", message, advice, str(path))

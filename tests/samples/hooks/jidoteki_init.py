"""Gives each new appliance a key, and its vendor a copy of it."""

import secrets
from pathlib import Path

from jidoteki.hookspecs import Appliance, hookimpl


@hookimpl
def jidoteki_init(appliance: Appliance, vendor: Path) -> None:
    key = secrets.token_hex(32)
    appliance.replace_file(appliance.etc / "support.key", key, mode=0o600)
    appliance.replace_file(vendor / "support.key", key, mode=0o600)

"""What `jidoteki check` finds."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.testing.host import COMMAND


def findings(appliance: Appliance) -> list[dict[str, Any]]:
    """What the command tells a program."""
    done = subprocess.run(
        [*COMMAND, "check", "--json", "--root", appliance.root], capture_output=True, text=True, timeout=60, check=False
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.stderr == ""
    assert done.returncode == (1 if any(each["level"] == "error" for each in found) else 0)
    return found

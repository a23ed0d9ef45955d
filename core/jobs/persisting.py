"""Which commands keep the system's data through a reboot, on systems that run from memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jidoteki.hookspecs import Appliance

#: What the original API runs after each change, where the system has it.
TOOL = Path("usr/bin/symlinktool.sh")
DEVICE = Path("etc/sysconfig/backup_device")


def commands(host_config: Mapping[str, Any], appliance: Appliance) -> list[list[str]]:
    """Return the commands to run one after the other, none where nothing is to be done.

    :param host_config: the host's configuration; without `commands.persist` the original's commands count.
    """
    configured = host_config["commands"]["persist"]
    if configured:
        return [list(configured)]
    tool = appliance.root / TOOL
    if not tool.is_file():
        return []
    try:
        device = (appliance.read_text(appliance.root / DEVICE) or "").strip().replace("/", "", 1)
    except OSError:
        device = ""
    return [[str(tool), "-c", device], [str(tool), "-r", device]]
